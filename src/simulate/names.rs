//! Names of services and routes, each once.

use std::collections::HashMap;

/// The most different names of a kind; what is beyond them is counted as one.
const MOST: usize = 10_000;

/// The number of a name.
pub type Number = u32;

/// What a service is called: its namespace and its name, either of which may be missing.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServiceName {
    /// The namespace.
    pub namespace: Option<String>,
    /// `service.name`.
    pub name: Option<String>,
}

/// Services and routes by number.
#[derive(Clone, Debug, Default)]
pub struct Names {
    services: Vec<ServiceName>,
    numbers: HashMap<String, Number>,
    routes: Texts,
    spans: Texts,
}

/// Texts by number.
#[derive(Clone, Debug, Default)]
struct Texts {
    all: Vec<String>,
    numbers: HashMap<String, Number>,
}

impl Names {
    /// A service; `None` for what is beyond the first ones.
    pub fn service_of(&self, number: Number) -> Option<&ServiceName> {
        self.services.get(number as usize)
    }

    /// A route; `None` for what is beyond the first ones.
    pub fn route_of(&self, number: Number) -> Option<&str> {
        self.routes.all.get(number as usize).map(String::as_str)
    }

    /// The name of a span; `None` for what is beyond the first ones.
    pub fn span_of(&self, number: Number) -> Option<&str> {
        self.spans.all.get(number as usize).map(String::as_str)
    }

    pub(super) fn service(&mut self, namespace: Option<&str>, name: Option<&str>) -> Number {
        // No name holds this character, unless somebody wants two of them to be one.
        let part = |text: Option<&str>| text.map_or_else(|| "\0".to_owned(), str::to_owned);
        let key = format!("{}\0{}", part(namespace), part(name));
        if let Some(number) = self.numbers.get(&key) {
            return *number;
        }
        let Some(number) = next(self.services.len()) else { return Number::MAX };
        self.services.push(ServiceName { namespace: namespace.map(str::to_owned), name: name.map(str::to_owned) });
        self.numbers.insert(key, number);
        number
    }

    pub(super) fn route(&mut self, route: &str) -> Number {
        self.routes.number(route)
    }

    pub(super) fn span(&mut self, name: &str) -> Number {
        self.spans.number(name)
    }
}

impl Texts {
    fn number(&mut self, text: &str) -> Number {
        if let Some(number) = self.numbers.get(text) {
            return *number;
        }
        let Some(number) = next(self.all.len()) else { return Number::MAX };
        self.all.push(text.to_owned());
        self.numbers.insert(text.to_owned(), number);
        number
    }
}

fn next(known: usize) -> Option<Number> {
    Number::try_from(known).ok().filter(|_| known < MOST)
}
