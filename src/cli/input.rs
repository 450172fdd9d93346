//! Collects what the commands are given: files, folders, standard input.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::diagnostics::source::{self, MAX_BYTES, Reading};
use crate::diagnostics::{Code, Diagnostic, FieldPath, Located};

/// What findings call standard input.
const STDIN: &str = "<stdin>";

/// Reads all documents from the arguments, in their order. `-` is `stdin`, read once. Folders are searched for `*.yaml`,
/// `*.yml` and `*.json`, in alphabetical order, without hidden files and folders. A file that is named twice is read once.
///
/// What cannot be opened is a finding (TRC0001) beside what can.
pub fn read(arguments: &[PathBuf], stdin: &mut dyn Read) -> Reading {
    read_minding(arguments, stdin, |_| true)
}

/// Reads like [`read`], and says nothing about what is wrong with files that nobody `minds`, by their bytes.
pub fn read_minding(arguments: &[PathBuf], stdin: &mut dyn Read, minds: impl Fn(&[u8]) -> bool) -> Reading {
    let (seen, reading) = (HashSet::new(), Reading::default());
    let mut input = Input { stdin, stdin_done: false, seen, reading, minds: &minds };
    for argument in arguments {
        if argument == Path::new("-") {
            input.standard();
        } else {
            input.named(argument);
        }
    }
    input.reading
}

struct Input<'i> {
    stdin: &'i mut dyn Read,
    stdin_done: bool,
    /// Files and folders that were read, by their real paths.
    seen: HashSet<PathBuf>,
    reading: Reading,
    minds: &'i dyn Fn(&[u8]) -> bool,
}

impl Input<'_> {
    fn standard(&mut self) {
        if std::mem::replace(&mut self.stdin_done, true) {
            return;
        }
        match bounded(self.stdin) {
            Ok(bytes) => self.text(STDIN, bytes),
            Err(error) => self.refuse(Path::new(STDIN), &error.to_string()),
        }
    }

    /// What the user named: whatever it is, it is read or refused.
    fn named(&mut self, path: &Path) {
        // Process substitution: `<(helm template ...)`. Such a path has no real one.
        if is_descriptor(path) {
            return self.file(path);
        }
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => self.folder(path),
            Ok(_) => self.entry(path),
            Err(error) => self.refuse(path, &words(&error)),
        }
    }

    fn folder(&mut self, path: &Path) {
        match path.canonicalize() {
            // A link that leads back, or a folder within one that was named too.
            Ok(real) => {
                if !self.seen.insert(real) {
                    return;
                }
            }
            Err(error) => return self.refuse(path, &words(&error)),
        }
        let entries = fs::read_dir(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let mut entries = match entries {
            Ok(entries) => entries,
            Err(error) => return self.refuse(path, &words(&error)),
        };
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let path = entry.path();
            if entry.file_name().as_encoded_bytes().starts_with(b".") {
                continue;
            }
            // Follows links; a link that leads nowhere matters only where its name says that it is one of ours.
            match fs::metadata(&path) {
                Ok(metadata) if metadata.is_dir() => self.folder(&path),
                Ok(_) if is_manifest(&path) => self.entry(&path),
                Err(error) if is_manifest(&path) => self.refuse(&path, &words(&error)),
                _ => {}
            }
        }
    }

    fn entry(&mut self, path: &Path) {
        match path.canonicalize() {
            Ok(real) if self.seen.contains(&real) => {}
            Ok(real) if real.is_file() => {
                self.seen.insert(real);
                self.file(path);
            }
            // Reading a device or a pipe could wait for ever.
            Ok(_) => self.refuse(path, "not a regular file; use - for standard input"),
            Err(error) => self.refuse(path, &words(&error)),
        }
    }

    fn file(&mut self, path: &Path) {
        match fs::File::open(path).and_then(|mut file| bounded(&mut file)) {
            Ok(bytes) => self.text(&path.to_string_lossy(), bytes),
            Err(error) => self.refuse(path, &words(&error)),
        }
    }

    fn text(&mut self, name: &str, bytes: Vec<u8>) {
        let is_minded = (self.minds)(&bytes);
        let mut reading = source::read(name, bytes);
        if !is_minded {
            reading.diagnostics.clear();
        }
        self.reading.append(reading);
    }

    fn refuse(&mut self, path: &Path, why: &str) {
        let diagnostic = Diagnostic::new(Code::TRC0001, FieldPath::root()).detail(why);
        let finding: Located = source::about_file(&path.to_string_lossy(), diagnostic);
        self.reading.diagnostics.push(finding);
    }
}

/// One byte more than allowed at most: enough to see that it is too much.
fn bounded(reader: &mut dyn Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn is_manifest(path: &Path) -> bool {
    let extension = path.extension().and_then(OsStr::to_str).unwrap_or_default();
    matches!(extension, "yaml" | "yml" | "json")
}

fn is_descriptor(path: &Path) -> bool {
    path == Path::new("/dev/stdin") || path.starts_with("/dev/fd") || path.starts_with("/proc/self/fd")
}

/// Without the number of the error, which helps nobody.
fn words(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_lowercase()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn names(reading: &Reading) -> Vec<String> {
        reading.documents.iter().map(|document| document.text("kind").to_owned()).collect()
    }

    fn tree() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("b.yaml", "kind: B");
        write("a/z.json", r#"{"kind": "Z"}"#);
        write("a/x.yml", "kind: X");
        write("a/notes.txt", "kind: Text");
        write(".git/x.yaml", "kind: Hidden");
        write("a/.x.yaml", "kind: Hidden");
        root
    }

    #[test]
    fn folders_are_read_in_order_without_what_is_hidden() {
        let root = tree();
        let reading = read(&[root.path().to_owned()], &mut io::empty());
        assert_eq!(names(&reading), ["X", "Z", "B"]);
        assert_eq!(reading.diagnostics, []);
    }

    #[test]
    fn nothing_is_read_twice_and_links_that_lead_back_are_harmless() {
        let root = tree();
        symlink(root.path(), root.path().join("a/back.yaml")).unwrap();
        symlink(root.path().join("b.yaml"), root.path().join("same.yaml")).unwrap();
        let arguments =
            [root.path().join("a/x.yml"), root.path().to_owned(), root.path().join("b.yaml"), "-".into(), "-".into()];
        let reading = read(&arguments, &mut "kind: In".as_bytes());
        assert_eq!(names(&reading), ["X", "Z", "B", "In"]);
        assert_eq!(reading.diagnostics, []);
        assert_eq!(reading.documents.last().unwrap().file().name(), "<stdin>");
    }

    #[test]
    fn what_cannot_be_opened_is_named_and_the_rest_is_read() {
        let root = tree();
        symlink(root.path().join("nowhere"), root.path().join("broken.yaml")).unwrap();
        std::os::unix::net::UnixListener::bind(root.path().join("socket.yaml")).unwrap();
        let reading =
            read(&[root.path().join("missing.yaml"), root.path().to_owned(), "/dev/zero".into()], &mut io::empty());
        let found: Vec<_> = reading.diagnostics.iter().map(|found| found.diagnostic.code).collect();
        assert_eq!(found, [Code::TRC0001; 4]);
        assert_eq!(reading.diagnostics[0].diagnostic.message, "input cannot be opened: no such file or directory");
        assert_eq!(names(&reading).len(), 3);
    }

    #[test]
    fn endless_input_is_refused_and_an_empty_folder_is_empty_input() {
        let reading = read(&["-".into()], &mut io::repeat(b'a'));
        assert_eq!(reading.diagnostics[0].diagnostic.code, Code::TRC0005);
        let root = tempfile::tempdir().unwrap();
        let reading = read(&[root.path().to_owned()], &mut io::empty());
        assert!(reading.documents.is_empty() && reading.diagnostics.is_empty());
    }
}
