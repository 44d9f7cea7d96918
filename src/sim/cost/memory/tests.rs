use super::*;
use crate::sim::catalog::Catalog;

fn blocks(model: &str, gpu: &str, tp: u32, pp: u32, rule: MemoryRule) -> Result<MemoryFit, String> {
    let catalog = Catalog::built_in().unwrap();
    let (model, gpu) = (catalog.model(model).unwrap(), catalog.gpu(gpu).unwrap());
    fit(model, gpu, tp, pp, 16, rule).map_err(|e| e.to_string())
}

const MAIN: MemoryRule = MemoryRule::VidurMain {
    max_tokens: 4096,
    margin: 0.1,
};
const CANARY: MemoryRule = MemoryRule::VidurCanary { margin: 0.1 };
const ENGINE: MemoryRule = MemoryRule::Engine {
    utilization: 0.9,
    max_batched_tokens: 8192,
};

/// The `resolved.num_blocks` of Vidur's runs.
#[test]
fn vidur_s_blocks_come_out() {
    for (model, gpu, tp, pp, max_tokens, slots, expected) in [
        ("Meta-Llama-3-8B", "a100", 1, 1, 4096, 118, 30_208),
        ("Llama-2-7b-hf", "h100", 1, 1, 2048, 59, 7_552),
        ("Llama-2-70b-hf", "a100", 4, 2, 4096, 179, 91_648),
    ] {
        let fit = blocks(
            model,
            gpu,
            tp,
            pp,
            MemoryRule::VidurMain {
                max_tokens,
                margin: 0.1,
            },
        )
        .unwrap();
        assert_eq!((fit.slots, fit.blocks), (Some(slots), expected), "{model}");
    }
    assert_eq!(
        blocks("Meta-Llama-3-8B", "a100", 1, 1, CANARY).unwrap().blocks,
        30_208
    );
}

#[test]
fn an_engine_keeps_room_for_all_that_it_needs() {
    let [main, engine] = [CANARY, ENGINE].map(|r| blocks("Llama-3.1-8B", "a100", 1, 1, r).unwrap());
    assert!(
        engine.blocks < main.blocks && engine.blocks > main.blocks * 9 / 10,
        "{}",
        engine.blocks
    );
    let named: f64 = engine.terms[2..].iter().map(|t| t.bytes).sum();
    assert!(
        (engine.terms[1].bytes - named - engine.kv_bytes).abs() < 1.0,
        "the terms add up"
    );
    // What each GPU holds of a layout comes to the whole, the embedding apart.
    let split = blocks("Llama-3.1-70B", "h100", 4, 2, ENGINE).unwrap();
    assert!(
        split.weight_bytes * 8.0 > 141e9 && split.weight_bytes * 8.0 < 145e9,
        "{}",
        split.weight_bytes
    );
    assert_eq!(split.kv_bytes_per_token, 327_680.0 / 8.0);
}

#[test]
fn what_does_not_fit_is_refused_with_the_arithmetic() {
    let error = blocks("Llama-3.1-70B", "h100", 1, 1, ENGINE).unwrap_err();
    assert!(
        error.starts_with(
            "meta-llama/Llama-3.1-70B does not fit on 1 x H100 SXM: 141.1 GB of weights / 1 = 141.1 GB on a GPU, \
             76.9 GB of 85.5 GB usable"
        ),
        "{error}"
    );
    let two = blocks("Llama-3.1-70B", "h100", 2, 1, ENGINE).unwrap();
    let four = blocks("Llama-3.1-70B", "h100", 4, 1, ENGINE).unwrap();
    assert!(
        two.blocks * 15 < four.blocks,
        "two hold the weights and little else: {} {}",
        two.blocks,
        four.blocks
    );
    assert!(
        blocks("Llama-3.1-70B", "a100", 1, 1, MAIN)
            .unwrap_err()
            .contains("136.9 GB")
    );
    // Vidur's slots are whole: one request of a million tokens is too much.
    let long = MemoryRule::VidurMain {
        max_tokens: 1_000_000,
        margin: 0.1,
    };
    assert!(blocks("Meta-Llama-3-8B", "a100", 1, 1, long).is_err());
    for (tp, says) in [
        (3, "does not divide"),
        (128, "fewer than tensor parallelism 128"),
        (0, "at least 1"),
    ] {
        assert!(
            blocks("Llama-3.1-8B", "h100", tp, 1, MAIN)
                .unwrap_err()
                .contains(says)
        );
    }
    let none = MemoryRule::VidurCanary { margin: 1.0 };
    assert!(
        blocks("Llama-3.1-8B", "h100", 1, 1, none)
            .unwrap_err()
            .contains("within 0 and 1")
    );
}

proptest::proptest! {
    /// More memory never holds fewer tokens, nor does more parallelism.
    #[test]
    fn more_memory_holds_more(gib in 30.0..200.0_f64, more in 1.0..50.0_f64) {
        let catalog = Catalog::built_in().unwrap();
        let model = catalog.model("Llama-3.1-8B").unwrap();
        let mut gpu = catalog.gpu("h100").unwrap().clone();
        gpu.memory_gib = gib;
        let small = fit(model, &gpu, 1, 1, 16, ENGINE).unwrap();
        let split = fit(model, &gpu, 2, 1, 16, ENGINE).unwrap();
        gpu.memory_gib += more;
        let large = fit(model, &gpu, 1, 1, 16, ENGINE).unwrap();
        proptest::prop_assert!(small.blocks < large.blocks && small.blocks < split.blocks);
        proptest::prop_assert!(f64::from(small.blocks) * 16.0 * small.kv_bytes_per_token <= small.kv_bytes);
    }
}
