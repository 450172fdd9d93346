//! Paths of fields, written as Kubernetes writes them: `spec.targets[0].name`, `spec.service.attributes[service.name]`.

use std::fmt;

/// One step of a [`FieldPath`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Segment {
    /// A field of an object.
    Field(String),
    /// An element of a list, from 0.
    Index(usize),
    /// An entry of a map whose keys are the user's.
    Key(String),
}

/// Where in an object a field is.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FieldPath(Vec<Segment>);

impl FieldPath {
    /// The object as a whole.
    pub fn root() -> Self {
        Self::default()
    }

    /// A path of plain fields: `FieldPath::fields("spec.export.endpoint")`.
    pub fn fields(dotted: &str) -> Self {
        Self(dotted.split('.').filter(|part| !part.is_empty()).map(|part| Segment::Field(part.to_owned())).collect())
    }

    /// This path with a field below it.
    #[must_use]
    pub fn field(&self, name: &str) -> Self {
        self.with(Segment::Field(name.to_owned()))
    }

    /// This path with a list element below it.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        self.with(Segment::Index(index))
    }

    /// This path with a map entry below it.
    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        self.with(Segment::Key(key.to_owned()))
    }

    /// The steps from the object to the field.
    pub fn segments(&self) -> &[Segment] {
        &self.0
    }

    fn with(&self, segment: Segment) -> Self {
        let mut segments = self.0.clone();
        segments.push(segment);
        Self(segments)
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, segment) in self.0.iter().enumerate() {
            match segment {
                Segment::Field(name) if position == 0 => write!(f, "{name}")?,
                Segment::Field(name) => write!(f, ".{name}")?,
                Segment::Index(index) => write!(f, "[{index}]")?,
                Segment::Key(key) => write!(f, "[{key}]")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_read_as_kubernetes_writes_them() {
        let path = FieldPath::fields("spec.service.attributes").key("service.name");
        assert_eq!(path.to_string(), "spec.service.attributes[service.name]");
        assert_eq!(FieldPath::fields("spec.targets").index(2).field("name").to_string(), "spec.targets[2].name");
        assert_eq!(FieldPath::root().to_string(), "");
    }
}
