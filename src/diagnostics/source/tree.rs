//! Builds a value and, beside it, the tree of its positions. YAML and JSON both end here, so that depth, size and
//! duplicate keys are judged in one place.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use crate::diagnostics::Code;

/// Collections nested deeper than this are refused.
pub(super) const MAX_DEPTH: usize = 100;
/// Values of one file; ten megabytes of ordinary manifests hold about one million.
const MAX_NODES: usize = 4_000_000;
/// Values that aliases may add to one file.
const MAX_EXPANDED: usize = 1_000_000;
/// Bytes of text that weigh as much as one value when aliases repeat them.
const BYTES_PER_NODE: usize = 32;

/// Bytes of the file, end excluded. Files are smaller than 4 GiB by the size limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: u32,
    pub(super) end: u32,
}

impl Span {
    pub(super) fn new(start: usize, end: usize) -> Self {
        let narrow = |offset| u32::try_from(offset).unwrap_or(u32::MAX);
        Self { start: narrow(start), end: narrow(end.max(start)) }
    }

    pub(super) fn range(self) -> std::ops::Range<usize> {
        self.start as usize..self.end as usize
    }

    pub(super) fn contains(self, other: Self) -> bool {
        self.start <= other.start && other.end <= self.end
    }
}

/// Positions of one value. `children` follow the order of the value's own entries.
#[derive(Clone, Debug, Default)]
pub(super) struct Node {
    /// The key in front of the value, where it is an entry of a mapping.
    pub(super) key: Option<Span>,
    pub(super) value: Span,
    pub(super) children: Vec<Self>,
}

/// Why a document cannot be read, and where.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    pub(super) code: Code,
    pub(super) span: Span,
    pub(super) detail: String,
}

impl Fault {
    pub(super) fn new(code: Code, span: Span, detail: impl Into<String>) -> Self {
        Self { code, span, detail: detail.into() }
    }
}

/// What one file may still spend.
#[derive(Debug, Default)]
pub(super) struct Budget {
    nodes: usize,
    expanded: usize,
}

impl Budget {
    /// Whether nothing more of the file can be read.
    pub(super) fn is_spent(&self) -> bool {
        self.nodes > MAX_NODES || self.expanded > MAX_EXPANDED
    }

    fn spend(&mut self, at: Span) -> Result<(), Fault> {
        self.nodes += 1;
        if self.nodes <= MAX_NODES {
            return Ok(());
        }
        Err(Fault::new(Code::TRC0005, at, format!("more than {MAX_NODES} values in one file")))
    }

    /// Charges one value that an alias repeats, with `bytes` of text.
    pub(super) fn expand(&mut self, bytes: usize, at: Span) -> Result<(), Fault> {
        self.expanded += 1 + bytes / BYTES_PER_NODE;
        if self.expanded <= MAX_EXPANDED {
            return Ok(());
        }
        Err(Fault::new(Code::TRC0005, at, format!("aliases expand to more than {MAX_EXPANDED} values")))
    }
}

/// What becomes of the next value of a mapping.
#[derive(Debug)]
enum Pending {
    /// A key has to come first.
    Nothing,
    Entry(String, Span),
    Merge(Span),
    /// The value of a key that was there already.
    Dropped,
}

#[derive(Debug)]
enum Content {
    List(Vec<Value>),
    Map { map: Map<String, Value>, pending: Pending, merging: Option<Box<Merging>> },
}

/// What a mapping with `<<` has to remember; built when the first merge comes.
#[derive(Debug, Default)]
struct Merging {
    /// Keys that came from a merge, so that an entry of the mapping itself may replace them.
    merged: HashSet<String>,
    /// Where each entry stands: a map cannot say, and searching would be quadratic.
    places: HashMap<String, usize>,
}

#[derive(Debug)]
struct Frame {
    content: Content,
    nodes: Vec<Node>,
    start: usize,
}

/// Puts a document together from a stream of openings, keys, scalars and closings.
#[derive(Debug)]
pub(super) struct Builder<'b> {
    budget: &'b mut Budget,
    stack: Vec<Frame>,
    root: Option<(Value, Node)>,
    /// Depths and positions of the aliases whose content is being repeated.
    aliases: Vec<(usize, Span)>,
    /// Duplicate keys: worth reporting all of them.
    pub(super) duplicates: Vec<Fault>,
}

impl<'b> Builder<'b> {
    pub(super) fn new(budget: &'b mut Budget) -> Self {
        Self { budget, stack: Vec::new(), root: None, aliases: Vec::new(), duplicates: Vec::new() }
    }

    pub(super) fn budget(&mut self) -> &mut Budget {
        self.budget
    }

    /// The value and its positions, once everything that was opened is closed.
    pub(super) fn finish(self) -> Option<(Value, Node)> {
        self.root.filter(|_| self.stack.is_empty())
    }

    pub(super) fn expects_key(&self) -> bool {
        matches!(self.stack.last().map(|frame| &frame.content), Some(Content::Map { pending: Pending::Nothing, .. }))
    }

    pub(super) fn expects_merge(&self) -> bool {
        matches!(self.stack.last().map(|frame| &frame.content), Some(Content::Map { pending: Pending::Merge(_), .. }))
    }

    /// The next value is the content of an alias at `span`; positions inside it stay those of its definition.
    pub(super) fn alias(&mut self, span: Span) {
        self.aliases.push((self.stack.len(), span));
    }

    pub(super) fn key(&mut self, key: String, span: Span) {
        let Some(Content::Map { map, pending, merging }) = self.stack.last_mut().map(|frame| &mut frame.content) else {
            return;
        };
        let merged = merging.as_ref().is_some_and(|merging| merging.merged.contains(&key));
        *pending = if map.contains_key(&key) && !merged {
            self.duplicates.push(Fault::new(Code::TRC0004, span, format!("`{}`", shorten(&key))));
            Pending::Dropped
        } else {
            Pending::Entry(key, span)
        };
    }

    pub(super) fn merge_key(&mut self, span: Span) {
        if let Some(Content::Map { pending, .. }) = self.stack.last_mut().map(|frame| &mut frame.content) {
            *pending = Pending::Merge(span);
        }
    }

    pub(super) fn scalar(&mut self, value: Value, span: Span) -> Result<(), Fault> {
        self.budget.spend(span)?;
        self.complete(value, Node { key: None, value: span, children: Vec::new() })
    }

    pub(super) fn open_list(&mut self, at: usize) -> Result<(), Fault> {
        self.open(Content::List(Vec::new()), at)
    }

    pub(super) fn open_map(&mut self, at: usize) -> Result<(), Fault> {
        self.open(Content::Map { map: Map::new(), pending: Pending::Nothing, merging: None }, at)
    }

    fn open(&mut self, content: Content, start: usize) -> Result<(), Fault> {
        let span = Span::new(start, start + 1);
        self.budget.spend(span)?;
        if self.stack.len() >= MAX_DEPTH {
            return Err(Fault::new(Code::TRC0005, span, format!("nested deeper than {MAX_DEPTH} levels")));
        }
        self.stack.push(Frame { content, nodes: Vec::new(), start });
        Ok(())
    }

    pub(super) fn close(&mut self, end: usize) -> Result<(), Fault> {
        let Some(frame) = self.stack.pop() else { return Ok(()) };
        let value = match frame.content {
            Content::List(items) => Value::Array(items),
            Content::Map { map, .. } => Value::Object(map),
        };
        self.complete(value, Node { key: None, value: Span::new(frame.start, end), children: frame.nodes })
    }

    fn complete(&mut self, value: Value, mut node: Node) -> Result<(), Fault> {
        if let Some((_, span)) = self.aliases.pop_if(|(depth, _)| *depth == self.stack.len()) {
            node.value = span;
        }
        let Some(frame) = self.stack.last_mut() else {
            self.root = Some((value, node));
            return Ok(());
        };
        match &mut frame.content {
            Content::List(items) => {
                items.push(value);
                frame.nodes.push(node);
            }
            Content::Map { map, pending, merging } => match std::mem::replace(pending, Pending::Nothing) {
                Pending::Nothing => {
                    return Err(Fault::new(Code::TRC0003, node.value, "a mapping or a list cannot be a key"));
                }
                Pending::Dropped => {}
                Pending::Entry(key, span) => {
                    node.key = Some(span);
                    if let Some(merging) = merging {
                        merging.merged.remove(&key);
                    }
                    insert(map, &mut frame.nodes, merging.as_deref_mut(), key, (value, node));
                }
                Pending::Merge(at) => {
                    let merging = merging.get_or_insert_with(|| Box::new(Merging::over(map)));
                    merge(map, &mut frame.nodes, merging, (value, node), at)?;
                }
            },
        }
        Ok(())
    }
}

impl Merging {
    fn over(map: &Map<String, Value>) -> Self {
        let places = map.keys().enumerate().map(|(place, key)| (key.clone(), place)).collect();
        Self { merged: HashSet::new(), places }
    }
}

/// As go-yaml does: what is merged replaces what is there, and what comes later replaces what was merged.
fn merge(
    map: &mut Map<String, Value>,
    nodes: &mut Vec<Node>,
    merging: &mut Merging,
    (value, node): (Value, Node),
    at: Span,
) -> Result<(), Fault> {
    let sources = match value {
        Value::Object(_) => vec![(value, node)],
        // Earlier ones win, so they are put in last.
        Value::Array(items) => items.into_iter().zip(node.children).rev().collect(),
        _ => vec![(Value::Null, node)],
    };
    for (value, node) in sources {
        let Value::Object(entries) = value else {
            return Err(Fault::new(Code::TRC0003, at, "`<<` needs a mapping or a list of mappings"));
        };
        for ((key, value), node) in entries.into_iter().zip(node.children) {
            merging.merged.insert(key.clone());
            insert(map, nodes, Some(merging), key, (value, node));
        }
    }
    Ok(())
}

/// Keeps the positions in the order of the entries, also where an entry is replaced.
fn insert(
    map: &mut Map<String, Value>,
    nodes: &mut Vec<Node>,
    merging: Option<&mut Merging>,
    key: String,
    (value, node): (Value, Node),
) {
    let place = match merging {
        Some(merging) => *merging.places.entry(key.clone()).or_insert(nodes.len()),
        None => nodes.len(),
    };
    match nodes.get_mut(place) {
        Some(slot) => *slot = node,
        None => nodes.push(node),
    }
    map.insert(key, value);
}

/// At most 60 characters of a text.
pub(super) fn shorten(text: &str) -> String {
    let mut characters = text.chars();
    let mut short: String = characters.by_ref().take(60).collect();
    if characters.next().is_some() {
        short.push('…');
    }
    short
}
