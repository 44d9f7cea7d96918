//! Where these programs find a tokenizer: a folder below the trial's, laid out as a cache of Hugging Face's hub, so that
//! nothing is fetched. `AIPerf` takes no path to a folder while it is offline; the others take the same folder by its path.

use std::path::{Path, PathBuf};

use fs_err as fs;

use crate::loadgen::LoadGenError;

/// Files of a model folder that no tokenizer needs.
const WEIGHTS: [&str; 7] = ["safetensors", "bin", "gguf", "pt", "pth", "onnx", "msgpack"];
/// What a bare `tokenizer.json` needs beside it.
const BARE: &str = "{\"tokenizer_class\": \"PreTrainedTokenizerFast\"}\n";
/// The name under which the hub's cache holds it.
pub(in crate::loadgen) const NAME: &str = "mst/tokenizer";

/// A tokenizer for one trial.
pub(in crate::loadgen) struct TokenizerHome {
    root: PathBuf,
}

impl TokenizerHome {
    /// Lays out links to `tokenizer`, a `tokenizer.json` or a folder with one, below `dir`.
    pub(in crate::loadgen) fn make(
        name: &'static str,
        tokenizer: &Path,
        dir: &Path,
    ) -> Result<Self, LoadGenError> {
        let home = Self::of(dir);
        super::fresh_folder(&home.root)?;
        let files = home.folder();
        fs::create_dir_all(&files)?;
        let repository = home.root.join("hub/models--mst--tokenizer/refs");
        fs::create_dir_all(&repository)?;
        fs::write(repository.join("main"), "1")?;
        let tokenizer = std::path::absolute(tokenizer)?;
        if tokenizer.is_dir() {
            for entry in fs::read_dir(&tokenizer)? {
                let path = entry?.path();
                let weights = path.extension().is_some_and(|e| WEIGHTS.iter().any(|w| e == *w));
                if let (true, false, Some(file)) = (path.is_file(), weights, path.file_name()) {
                    fs_err::os::unix::fs::symlink(&path, files.join(file))?;
                }
            }
        } else {
            fs_err::os::unix::fs::symlink(&tokenizer, files.join("tokenizer.json"))?;
        }
        if !files.join("tokenizer.json").exists() {
            return Err(LoadGenError::Unusable {
                name,
                why: format!(
                    "{} holds no tokenizer.json; name the model's tokenizer by LOADGEN_TOKENIZER or TOKENIZER",
                    tokenizer.display()
                ),
            });
        }
        if !files.join("tokenizer_config.json").exists() {
            fs::write(files.join("tokenizer_config.json"), BARE)?;
        }
        Ok(home)
    }

    /// The one of a trial in `dir`.
    pub(in crate::loadgen) fn of(dir: &Path) -> Self {
        Self {
            root: dir.join("tokenizer"),
        }
    }

    /// The folder with the files.
    pub(in crate::loadgen) fn folder(&self) -> PathBuf {
        self.root.join("hub/models--mst--tokenizer/snapshots/1")
    }

    /// Variables that keep a program to it.
    pub(in crate::loadgen) fn env(&self, name: &'static str) -> Result<Vec<(String, String)>, LoadGenError> {
        let root = super::utf8(name, &self.root)?.to_owned();
        let set = |key: &str, value: String| (key.to_owned(), value);
        Ok(vec![
            set("HF_HOME", root),
            set("HF_HUB_OFFLINE", "1".to_owned()),
            set("TOKENIZERS_PARALLELISM", "false".to_owned()),
        ])
    }

    /// Removes it: it holds links only.
    pub(in crate::loadgen) fn remove(&self) -> Result<(), LoadGenError> {
        super::discard(&self.root)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_folders_are_laid_out() {
        let dir = tempfile::tempdir().unwrap();
        let source = dir.path().join("model");
        fs::create_dir(&source).unwrap();
        fs::write(source.join("tokenizer.json"), "{}").unwrap();
        fs::write(source.join("model.safetensors"), "large").unwrap();
        for tokenizer in [source.clone(), source.join("tokenizer.json")] {
            let home = TokenizerHome::make("x", &tokenizer, dir.path()).unwrap();
            let mut names: Vec<_> = fs::read_dir(home.folder())
                .unwrap()
                .map(|e| e.unwrap().file_name().into_string().unwrap())
                .collect();
            names.sort();
            assert_eq!(names, ["tokenizer.json", "tokenizer_config.json"]);
            home.remove().unwrap();
        }
        fs::remove_file(source.join("tokenizer.json")).unwrap();
        let error = TokenizerHome::make("x", &source, dir.path())
            .err()
            .unwrap()
            .to_string();
        assert!(
            error.contains("holds no tokenizer.json") && error.contains("LOADGEN_TOKENIZER"),
            "{error}"
        );
    }
}
