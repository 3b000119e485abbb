//! What each crate with fuzz targets includes: it names them, and makes a test of each that feeds it its corpus, so that what
//! fuzzing has found once is looked for by the ordinary tests, on every toolchain and without libFuzzer.

/// Names the targets of a crate, and where the body of each is.
macro_rules! targets {
    ($($target:ident: $body:path,)*) => {
        $(
            #[doc = concat!("What `fuzz/fuzz_targets/", stringify!($target), ".rs` calls.")]
            pub fn $target(data: &[u8]) {
                $body(data);
            }
        )*

        #[cfg(test)]
        mod corpus {
            $(
                #[test]
                fn $target() {
                    super::targets::replay(stringify!($target), super::$target);
                }
            )*
        }
    };
}

/// Feeds a target each file of its corpus. One without a corpus fails, and so does one that `scripts/fuzz.sh` does not know.
#[cfg(test)]
pub(super) fn replay(target: &str, run: fn(&[u8])) {
    let mut above = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let fuzz = above.find_map(|directory| {
        let fuzz = directory.join("fuzz");
        fuzz.join("fuzz_targets").is_dir().then_some(fuzz)
    });
    let fuzz = fuzz.expect("the workspace has a folder for it");
    let main = fuzz.join("fuzz_targets").join(target).with_extension("rs");
    assert!(main.is_file(), "{} is missing", main.display());
    let corpus = fuzz.join("corpus").join(target);
    let files = std::fs::read_dir(&corpus)
        .unwrap_or_else(|error| panic!("{}: {error}", corpus.display()))
        .map(|file| file.expect("an entry").path());
    let mut fed = 0;
    for file in files {
        // Shown where it fails.
        println!("{}", file.display());
        run(&std::fs::read(&file).expect("a file of the corpus"));
        fed += 1;
    }
    assert!(fed > 0, "{} is empty", corpus.display());
}
