//! A clock of a process that jumps: a small library that is loaded before the others shifts the time of day by what stands
//! in a file. What measures durations is not shifted, as on a real machine whose clock is set.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

/// The time of day comes from `clock_gettime`, in Rust as in C. The system call is asked: the function is replaced by this one.
const SHIM: &str = r#"
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile long long *offset;

__attribute__((constructor)) static void open_offset(void) {
    const char *path = getenv("CLOCK_OFFSET_FILE");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0) return;
    void *page = mmap(NULL, sizeof(long long), PROT_READ, MAP_SHARED, file, 0);
    if (page != MAP_FAILED) offset = page;
    close(file);
}

int clock_gettime(clockid_t clock, struct timespec *out) {
    int failed = (int)syscall(SYS_clock_gettime, clock, out);
    if (!failed && offset && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) out->tv_sec += *offset;
    return failed;
}

int gettimeofday(struct timeval *restrict out, void *restrict zone) {
    struct timespec now;
    (void)zone;
    int failed = clock_gettime(CLOCK_REALTIME, &now);
    if (!failed) { out->tv_sec = now.tv_sec; out->tv_usec = now.tv_nsec / 1000; }
    return failed;
}

time_t time(time_t *out) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (out) *out = now.tv_sec;
    return now.tv_sec;
}
"#;

/// A clock that a process is started with, by [`Self::environment`].
pub(crate) struct Clock {
    library: String,
    path: String,
    file: File,
}

impl Clock {
    /// Builds the library in `folder`, with the linker's compiler that Rust needs anyway. The clock is right at first.
    pub(crate) fn new(folder: &Path) -> Self {
        let folder = tempfile::Builder::new().prefix("clock-").tempdir_in(folder).expect("a folder").keep();
        let [source, library, path] = ["clock.c", "clock.so", "offset"].map(|name| folder.join(name));
        fs::write(&source, SHIM).expect("the source is written");
        let mut cc = Command::new("cc");
        let built = cc.args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"]).arg(&library).arg(&source).output();
        let built = built.expect("cc starts: Rust links with it");
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        fs::write(&path, 0_i64.to_ne_bytes()).expect("the offset is written");
        let file = File::options().write(true).open(&path).expect("the file is there");
        let text = |path: &Path| path.display().to_string();
        Self { library: text(&library), path: text(&path), file }
    }

    /// From now on the clock is so many seconds off.
    pub(crate) fn set(&self, seconds: i64) {
        self.file.write_all_at(&seconds.to_ne_bytes(), 0).expect("the offset is written");
    }

    /// What a process has to be started with.
    pub(crate) fn environment(&self) -> [(&str, &str); 2] {
        [("LD_PRELOAD", &self.library), ("CLOCK_OFFSET_FILE", &self.path)]
    }
}
