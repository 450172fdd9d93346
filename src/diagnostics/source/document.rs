//! One object of a file, with the way from its fields back to the text.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;

use super::file::{Location, SourceFile};
use super::tree::Node;
use crate::diagnostics::{Code, Diagnostic, FieldPath, Located, ObjectId, Place, Segment};

/// The API group whose objects are shown as they are.
const GROUP: &str = "tracesteward.io";

/// A value with the positions of its fields. Lists of objects are expanded: each item is a document of its own.
#[derive(Clone, Debug)]
pub struct Document {
    file: Arc<SourceFile>,
    value: Value,
    root: Node,
}

impl Document {
    /// The value, as the API server would get it from kubectl.
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// The file it comes from.
    pub fn file(&self) -> &Arc<SourceFile> {
        &self.file
    }

    /// The text of a field at the top, such as `kind`; empty where it is absent or no text.
    pub fn text(&self, field: &str) -> &str {
        self.value.get(field).and_then(Value::as_str).unwrap_or_default()
    }

    /// The API group, empty for the core group.
    pub fn group(&self) -> &str {
        self.text("apiVersion").split_once('/').map_or("", |(group, _)| group)
    }

    /// Kind, namespace and name as they stand in the document; `None` where it is not an object with a kind.
    pub fn object(&self) -> Option<ObjectId> {
        let kind = self.text("kind");
        let metadata = |field| self.value.get("metadata").and_then(|metadata| metadata.get(field)?.as_str());
        (!kind.is_empty()).then(|| ObjectId {
            kind: kind.to_owned(),
            namespace: metadata("namespace").unwrap_or_default().to_owned(),
            name: metadata("name").unwrap_or_default().to_owned(),
        })
    }

    /// Where a field stands. Where it is absent, the nearest parent that exists; a field that comes through an alias
    /// stands where the anchor defines it, as long as that is inside the same object.
    pub fn locate(&self, path: &FieldPath) -> Location {
        let (mut node, mut value, mut best) = (&self.root, &self.value, (&self.root, &self.value));
        for segment in path.segments() {
            let index = match (segment, value) {
                (Segment::Field(name) | Segment::Key(name), Value::Object(map)) => {
                    map.keys().position(|key| key == name)
                }
                (Segment::Index(index), Value::Array(_)) => Some(*index),
                _ => None,
            };
            let child = match segment {
                Segment::Field(name) | Segment::Key(name) => value.get(name),
                Segment::Index(index) => value.get(*index),
            };
            let (Some(next), Some(child)) = (index.and_then(|index| node.children.get(index)), child) else { break };
            // Beyond this object may stand a Secret that shares an anchor with it.
            if !self.root.value.contains(next.value) || !next.key.is_none_or(|key| self.root.value.contains(key)) {
                break;
            }
            (node, value, best) = (next, child, (next, child));
        }
        let (node, value) = best;
        let collection = value.is_object() || value.is_array();
        self.file.locate(node.key.map(super::tree::Span::range), node.value.range(), collection)
    }

    /// Where a field stands, with an excerpt. Secrets are never shown.
    pub fn place(&self, path: &FieldPath) -> Place {
        let location = self.locate(path);
        let secret = matches!(self.text("kind"), "Secret" | "SecretList");
        let excerpt = match &location.key {
            _ if secret => None,
            // What others have in their collections, such as the variables of a container, is nobody's business.
            Some(key) if location.collection && self.group() != GROUP => {
                self.file.excerpt(&Location { value: key.clone(), collection: false, ..location.clone() })
            }
            None if location.collection && self.group() != GROUP => None,
            _ => self.file.excerpt(&location),
        };
        let (line, column) = (Some(location.line), Some(location.column));
        Place { file: self.file.name().to_owned(), line, column, excerpt }
    }

    /// A finding about this document, with its place.
    pub fn located(&self, mut diagnostic: Diagnostic) -> Located {
        let place = Some(self.place(&diagnostic.path));
        if diagnostic.object.is_none() {
            diagnostic.object = self.object();
        }
        Located { diagnostic, place }
    }
}

/// The documents that a value stands for: itself, or the items of a list, also of lists within lists.
pub(super) fn expand(file: &Arc<SourceFile>, value: Value, root: Node, documents: &mut Vec<Document>) {
    let document = Document { file: Arc::clone(file), value, root };
    if !is_list(&document) {
        documents.push(document);
        return;
    }
    let (version, kind) = (document.text("apiVersion").to_owned(), document.text("kind").to_owned());
    let Document { mut value, mut root, .. } = document;
    let place = value.as_object().and_then(|map| map.keys().position(|key| key == "items"));
    let node = place.and_then(|place| root.children.get_mut(place)).map(std::mem::take).unwrap_or_default();
    let Some(Value::Array(items)) = value.get_mut("items").map(Value::take) else { return };
    for (mut item, node) in items.into_iter().zip(node.children) {
        adopt(&mut item, &version, kind.strip_suffix("List").unwrap_or_default());
        expand(file, item, node, documents);
    }
}

fn is_list(document: &Document) -> bool {
    let kind = document.text("kind");
    let list = if kind == "List" { document.text("apiVersion") == "v1" } else { kind.ends_with("List") };
    list && document.value.get("items").is_some_and(Value::is_array)
}

/// Items of a typed list may leave out what they are; the API server and kubectl take it from the list.
fn adopt(item: &mut Value, version: &str, kind: &str) {
    let Value::Object(map) = item else { return };
    if !kind.is_empty() && !map.contains_key("kind") && !map.contains_key("apiVersion") {
        // Behind the other entries, so that positions keep their order.
        map.insert("apiVersion".to_owned(), version.into());
        map.insert("kind".to_owned(), kind.into());
    }
}

/// TRC0006 for each document that is the same object (group, kind, namespace, name) as one before it. Objects without
/// a namespace are taken to be in `default_namespace`.
pub fn repeated<'d>(documents: impl IntoIterator<Item = &'d Document>, default_namespace: &str) -> Vec<Located> {
    let mut seen: HashMap<(&str, ObjectId), &Document> = HashMap::new();
    let mut findings = Vec::new();
    for document in documents {
        let Some(mut object) = document.object().filter(|object| !object.name.is_empty()) else { continue };
        if object.namespace.is_empty() {
            default_namespace.clone_into(&mut object.namespace);
        }
        let Some(first) = seen.get(&(document.group(), object.clone())) else {
            seen.insert((document.group(), object), document);
            continue;
        };
        let path = FieldPath::fields("metadata.name");
        let (file, line) = (first.file.name(), first.locate(&path).line);
        let detail = format!("{} {}/{} stands already in {file}:{line}", object.kind, object.namespace, object.name);
        findings.push(document.located(Diagnostic::new(Code::TRC0006, path).detail(detail)));
    }
    findings
}
