//! The end of a log file, and what comes to it.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
};

use memchr::memrchr;

/// Read at once, from the end towards the beginning.
const BLOCK: u64 = 64 << 10;

/// A log file that somebody else writes.
pub(super) struct LogFile {
    path: PathBuf,
    file: File,
    /// Where the first line begins that has not been read.
    next: u64,
}

impl LogFile {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            file: File::open(path)?,
            next: 0,
        })
    }

    /// The last `count` lines that `pick` takes, as it makes them, the oldest first. However large the file is, no more of it
    /// is read than that takes. A line that is being written is left for [`Self::more`].
    pub(super) fn last<T>(
        &mut self,
        count: usize,
        pick: impl Fn(&[u8]) -> Option<T>,
    ) -> io::Result<Vec<T>> {
        let mut picked = Vec::new();
        let mut begin = self.file.metadata()?.len();
        // What stands after the last line break is no line yet.
        let mut is_unfinished = true;
        // The end of a line whose beginning has not been read.
        let mut rest = Vec::new();
        while begin > 0 && (picked.len() < count || is_unfinished) {
            let end = begin;
            begin = end.saturating_sub(BLOCK);
            let mut block = self.read(begin, end)?;
            block.append(&mut rest);
            let mut end = block.len();
            while let Some(at) = memrchr(b'\n', &block[..end]) {
                let line = &block[at + 1..end];
                if is_unfinished {
                    self.next = begin + at as u64 + 1;
                    is_unfinished = false;
                } else if picked.len() < count {
                    picked.extend(pick(line));
                }
                end = at;
            }
            block.truncate(end);
            rest = block;
        }
        if begin == 0 && !is_unfinished && picked.len() < count {
            picked.extend(pick(&rest));
        }
        picked.reverse();
        Ok(picked)
    }

    /// The lines that came since, as `pick` makes them. A file that was put in the place of this one is read from its beginning
    /// once this one has been read to its end; so is one that was cut.
    pub(super) fn more<T>(&mut self, pick: impl Fn(&[u8]) -> Option<T>) -> io::Result<Vec<T>> {
        let mut picked = Vec::new();
        self.read_on(&pick, &mut picked)?;
        let is_other = fs::metadata(&self.path)
            .is_ok_and(|now| self.file.metadata().is_ok_and(|old| now.ino() != old.ino()));
        if is_other {
            *self = Self::open(&self.path)?;
            self.read_on(&pick, &mut picked)?;
        }
        Ok(picked)
    }

    fn read_on<T>(
        &mut self,
        pick: &impl Fn(&[u8]) -> Option<T>,
        picked: &mut Vec<T>,
    ) -> io::Result<()> {
        let end = self.file.metadata()?.len();
        if end < self.next {
            self.next = 0;
        }
        let bytes = self.read(self.next, end)?;
        if let Some(last) = memrchr(b'\n', &bytes) {
            picked.extend(bytes[..last].split(|byte| *byte == b'\n').filter_map(pick));
            self.next += last as u64 + 1;
        }
        Ok(())
    }

    fn read(&self, begin: u64, end: u64) -> io::Result<Vec<u8>> {
        let length = usize::try_from(end - begin).map_err(io::Error::other)?;
        let mut bytes = vec![0; length];
        match self.file.read_exact_at(&mut bytes, begin) {
            // It was cut meanwhile: what is left comes from its beginning, the next time.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(Vec::new()),
            read => read.map(|()| bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(line: &[u8]) -> Option<String> {
        std::str::from_utf8(line).ok().map(str::to_owned)
    }

    fn log(text: &str) -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("host.log");
        fs::write(&path, text).expect("a log");
        (directory, path)
    }

    fn append(path: &Path, text: &str) {
        use std::io::Write;
        let mut file = File::options().append(true).open(path).expect("the log");
        file.write_all(text.as_bytes()).expect("it is written");
    }

    #[test]
    fn the_last_lines_are_found_from_the_end_whatever_blocks_they_lie_in() {
        for (text, count, expected) in [
            ("", 2, vec![]),
            ("half", 2, vec![]),
            ("a\n", 2, vec!["a"]),
            ("a\nb\nc\n", 2, vec!["b", "c"]),
            ("a\nb\nhalf", 9, vec!["a", "b"]),
            ("a\n\nb\n", 2, vec!["", "b"]),
            ("a\nb\n", 0, vec![]),
        ] {
            let (_directory, path) = log(text);
            let mut file = LogFile::open(&path).expect("the log");
            assert_eq!(file.last(count, all).expect("read"), expected, "{text:?}");
        }
        let block = usize::try_from(BLOCK).expect("a block");
        let long = "x".repeat(block - 3);
        let longer = "y".repeat(block * 2 + 1);
        let (_directory, path) = log(&format!("a\n{long}\nb\n{longer}\nc\n"));
        let mut file = LogFile::open(&path).expect("the log");
        let expected = [&*long, "b", &*longer, "c"];
        assert_eq!(file.last(4, all).expect("read"), expected);
        let few = |line: &[u8]| all(line).filter(|line| line.len() == 1);
        assert_eq!(file.last(9, few).expect("read"), ["a", "b", "c"]);
    }

    #[test]
    fn what_comes_is_read_line_by_line_through_rotation_and_cuts() {
        let (_directory, path) = log("a\nhal");
        let mut file = LogFile::open(&path).expect("the log");
        assert_eq!(file.last(0, all).expect("read"), Vec::<String>::new());
        let mut more = || file.more(all).expect("read");
        assert_eq!(more(), Vec::<String>::new());
        append(&path, "f\nb\nc");
        assert_eq!(more(), ["half", "b"]);
        append(&path, "\nbefore it is moved\n");
        fs::rename(&path, path.with_extension("1")).expect("moved");
        assert_eq!(more(), ["c", "before it is moved"]);
        fs::write(&path, "new\n").expect("another");
        assert_eq!(more(), ["new"]);
        File::create(&path).expect("it is cut");
        append(&path, "d\n");
        assert_eq!(more(), ["d"]);
    }
}
