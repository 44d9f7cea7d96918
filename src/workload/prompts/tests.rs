use super::*;
use crate::units::{TokenPair, TokenRange};

fn class(min: u32, max: u32) -> LengthClass {
    LengthClass {
        pair: TokenPair {
            input: TokenRange { min, max },
            output: TokenRange::exactly(4),
        },
        share: 1.0,
    }
}

fn spec(unique_prefix: bool) -> PromptSpec {
    PromptSpec {
        source: PromptSource::Builtin,
        unique_prefix,
    }
}

fn request(input_tokens: u32, salt: u64) -> PlannedRequest {
    PlannedRequest {
        intended_ns: 0,
        class: 0,
        input_tokens,
        output_tokens: 4,
        salt,
    }
}

fn factory(unique: bool, encoding: &PromptEncoding) -> PromptFactory {
    PromptFactory::new(&spec(unique), &[class(1, 100)], encoding, None).unwrap()
}

#[test]
fn ids_are_exact_and_their_own() {
    let encoding = PromptEncoding::TokenIds {
        low: 1000,
        high: 2000,
    };
    let prompts = factory(true, &encoding);
    let first = prompts.prompt(&request(50, 1));
    assert_eq!(first.tokens(), Some(50));
    assert_eq!(first, prompts.prompt(&request(50, 1)));
    assert_ne!(first, prompts.prompt(&request(50, 2)));
    let Prompt::Ids(ids) = &first else { panic!() };
    assert!(ids.iter().all(|id| (1000..2000).contains(id)));
    let shared = factory(false, &encoding);
    assert_eq!(shared.prompt(&request(50, 1)), shared.prompt(&request(50, 2)));
    assert!(
        PromptFactory::new(
            &spec(true),
            &[],
            &PromptEncoding::TokenIds { low: 5, high: 5 },
            None
        )
        .is_err()
    );
}

#[test]
fn calibrated_text_has_the_words_that_its_line_asks_for() {
    let encoding = PromptEncoding::Calibrated {
        overhead: 10.0,
        per_word: 1.25,
    };
    let prompts = factory(true, &encoding);
    let Prompt::Text {
        text,
        expected_tokens,
    } = prompts.prompt(&request(110, 7))
    else {
        panic!()
    };
    assert_eq!(text.split(' ').count(), 80);
    assert_eq!(expected_tokens, None);
    assert_eq!(prompts.probe(80, 7), text);
    let bad = PromptEncoding::Calibrated {
        overhead: 0.0,
        per_word: 0.0,
    };
    assert!(PromptFactory::new(&spec(true), &[], &bad, None).is_err());
}

#[test]
fn sixty_thousand_prompts_share_no_cache_block() {
    let prompts = factory(
        true,
        &PromptEncoding::Calibrated {
            overhead: 0.0,
            per_word: 1.0,
        },
    );
    let mut starts: Vec<String> = (0..60_000)
        .map(|salt| prompts.prompt(&request(16, salt)).to_text())
        .collect();
    starts.sort_unstable();
    starts.dedup();
    assert!(starts.len() == 60_000, "{}", starts.len());
}

#[test]
fn uses_are_counted_in_order() {
    let ids = factory(false, &PromptEncoding::TokenIds { low: 0, high: 9 });
    let requests = [request(3, 1), request(2, 2), request(3, 3)];
    let uses: Vec<PromptUse> = ids.used(&requests).collect();
    let counted: Vec<(u32, u64)> = uses.iter().map(|u| (u.tokens, u.occurrences)).collect();
    assert_eq!(counted, [(3, 2), (2, 1)]);
}

#[test]
fn files_give_their_texts_and_own_prefixes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("p.jsonl");
    fs_err::write(
        &path,
        "{\"text\": \"a b c d e f g h i j\", \"token_count\": 10}\n{\"text\": \"word\", \"token_count\": 99}\n",
    )
    .unwrap();
    let spec = |unique_prefix| PromptSpec {
        source: PromptSource::File {
            digest: digest_of_file(&path).unwrap(),
        },
        unique_prefix,
    };
    let encoding = PromptEncoding::Calibrated {
        overhead: 0.0,
        per_word: 1.0,
    };
    let make = |unique| PromptFactory::new(&spec(unique), &[class(5, 10)], &encoding, Some(&path)).unwrap();
    assert_eq!(
        make(false).prompt(&request(7, 3)),
        Prompt::Text {
            text: "a b c d e f g h i j".to_owned(),
            expected_tokens: Some(10)
        }
    );
    let own = make(true).prompt(&request(7, 3)).to_text();
    assert!(own.ends_with(" a b c d e f"), "{own}");
    assert_eq!(own.split(' ').count(), 10);
    let planned = spec(true);
    fs_err::write(&path, "{\"text\": \"changed\", \"token_count\": 7}\n").unwrap();
    let error = |path| {
        PromptFactory::new(&planned, &[class(5, 10)], &encoding, path)
            .err()
            .unwrap()
            .to_string()
    };
    assert!(error(Some(&path)).contains("has changed"));
    assert!(error(None).contains("PROMPTS_FILE"));
}

#[cfg(feature = "tokenizer")]
mod counted {
    use super::*;
    use tokenizers::Tokenizer;

    fn golden(name: &str) -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join("tests/golden/external/tokenizers")
            .join(name)
    }

    /// Counts as a server would: without padding or truncation, with special tokens.
    fn count(tokenizer: &Tokenizer, text: &str) -> u32 {
        let encoding = tokenizer.encode(text, true).unwrap();
        encoding.len() as u32
    }

    #[test]
    fn texts_encode_to_the_wanted_count() {
        for (name, least) in [
            ("byte-level.json", 1),
            ("start-token.json", 2),
            ("padded-wordpiece.json", 3),
            ("across-words.json", 1),
        ] {
            let encoding = PromptEncoding::Tokenizer { path: golden(name) };
            let mut reference = Tokenizer::from_file(golden(name)).unwrap();
            reference.with_padding(None);
            reference.with_truncation(None).unwrap();
            let prompts = factory(true, &encoding);
            let mut missed = 0;
            for salt in 0..150u64 {
                let wanted = least + (salt as u32 * 7) % 400;
                let prompt = prompts.prompt(&request(wanted, salt));
                let Prompt::Text {
                    text,
                    expected_tokens,
                } = &prompt
                else {
                    panic!()
                };
                assert_eq!(*expected_tokens, Some(count(&reference, text)), "{name} {wanted}");
                missed += u32::from(*expected_tokens != Some(wanted));
                assert_eq!(prompt, prompts.prompt(&request(wanted, salt)));
            }
            assert_eq!(missed, 0, "{name}");
        }
    }

    #[test]
    fn predictions_are_trusted_only_where_words_stand_alone() {
        let corpus = Corpus::builtin();
        for (name, trusted) in [
            ("byte-level.json", true),
            ("start-token.json", true),
            ("padded-wordpiece.json", true),
            ("across-words.json", false),
        ] {
            assert_eq!(
                Counter::load(&golden(name), &corpus).unwrap().trusted,
                trusted,
                "{name}"
            );
        }
    }

    #[test]
    fn fewer_tokens_than_the_tokenizer_adds_give_the_nearest() {
        let encoding = PromptEncoding::Tokenizer {
            path: golden("padded-wordpiece.json"),
        };
        let prompt = factory(true, &encoding).prompt(&request(1, 5));
        assert_eq!(prompt.tokens(), Some(3));
        assert!(!prompt.to_text().is_empty());
    }

    #[test]
    fn starts_differ_only_where_asked() {
        let encoding = PromptEncoding::Tokenizer {
            path: golden("byte-level.json"),
        };
        let start = |unique, salt| {
            let text = factory(unique, &encoding).prompt(&request(80, salt)).to_text();
            text.split(' ').take(3).collect::<Vec<_>>().join(" ")
        };
        assert_ne!(start(true, 1), start(true, 2));
        assert_eq!(start(false, 1), start(false, 2));
    }

    #[test]
    fn broken_tokenizers_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tokenizer.json");
        for content in ["", "{}", "[1"] {
            fs_err::write(&path, content).unwrap();
            let error = Counter::load(&path, &Corpus::builtin())
                .err()
                .unwrap()
                .to_string();
            assert!(error.contains("tokenizer.json: cannot be used"), "{error}");
        }
        assert!(Counter::load(&dir.path().join("none"), &Corpus::builtin()).is_err());
    }

    #[test]
    fn calibrated_text_comes_near_the_wanted_count() {
        let tokenizer = Tokenizer::from_file(golden("start-token.json")).unwrap();
        let first = factory(
            true,
            &PromptEncoding::Calibrated {
                overhead: 0.0,
                per_word: 1.0,
            },
        );
        let samples: Vec<(u32, u32)> = [32u32, 128, 512]
            .repeat(4)
            .iter()
            .zip(0u64..)
            .map(|(&words, salt)| (words, count(&tokenizer, &first.probe(words as usize, salt))))
            .collect();
        let (overhead, per_word) = calibrate(&samples);
        let prompts = factory(true, &PromptEncoding::Calibrated { overhead, per_word });
        let counts: Vec<f64> = (1000..1300)
            .map(|salt| f64::from(count(&tokenizer, &prompts.prompt(&request(128, salt)).to_text())))
            .collect();
        let mean = counts.iter().sum::<f64>() / counts.len() as f64;
        let deviation = (counts.iter().map(|c| (c - mean).powi(2)).sum::<f64>() / counts.len() as f64).sqrt();

        assert!((mean - 128.0).abs() < 1.5, "{mean}");
        assert!(deviation < 2.0, "{deviation}");
    }
}
