use super::*;

fn catalog() -> Catalog {
    Catalog::built_in().unwrap()
}

#[test]
fn the_built_in_files_are_sound() {
    let catalog = catalog();
    assert!(catalog.models().len() >= 25 && catalog.gpus().len() >= 14);
    let mut names: Vec<String> = Vec::new();
    for model in catalog.models() {
        assert_eq!(model.check_layout(1, 1), Ok(()));
        names.extend(
            model
                .aliases
                .iter()
                .chain([&model.name])
                .map(|n| model::last_part(n).to_lowercase()),
        );
    }
    let all = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), all, "a name stands for two models");
}

#[test]
fn a_name_is_found_in_all_its_forms() {
    let catalog = catalog();
    for name in [
        "meta-llama/Meta-Llama-3-8B",
        "Meta-Llama-3-8B",
        "meta-llama-3-8b",
        "/models/Meta-Llama-3-8B",
    ] {
        assert_eq!(catalog.model(name).unwrap().name, "meta-llama/Meta-Llama-3-8B");
    }
    for (name, gpu) in [
        ("a100", "A100-80 SXM"),
        ("H100", "H100 SXM"),
        ("h100_pcie", "H100 PCIe"),
        ("a30", "A30"),
    ] {
        assert_eq!(catalog.gpu(name).unwrap().name, gpu);
    }
    let error = catalog.model("meta-llama/Llama-3-9B").unwrap_err().to_string();
    assert!(
        error.starts_with("no model `meta-llama/Llama-3-9B` is known; near it: "),
        "{error}"
    );
    assert!(
        error.contains("Meta-Llama-3-8B") || error.contains("Llama-3.1-8B"),
        "{error}"
    );
    let error = catalog.gpu("H1000").unwrap_err().to_string();
    assert!(error.contains("H100"), "{error}");
    let error = catalog.gpu("quantum").unwrap_err().to_string();
    assert!(!error.contains("near"), "{error}");
}

/// What the models' cards say, norms and biases left out: a thousandth at most.
#[test]
fn parameters_are_those_of_the_cards() {
    let catalog = catalog();
    for (name, billions) in [
        ("Llama-2-7b-hf", 6.738),
        ("Llama-2-70b-hf", 68.98),
        ("Meta-Llama-3-8B", 8.030),
        ("Llama-3.1-70B", 70.55),
        ("Llama-3.1-405B", 405.85),
        ("Llama-3.2-1B", 1.236),
        ("Mistral-7B-v0.1", 7.242),
        ("CodeLlama-34b-Instruct-hf", 33.74),
        ("Yi-34B", 34.39),
        ("internlm2-20b", 19.86),
        ("phi-2", 2.78),
        ("Qwen2-7B", 7.616),
        ("Qwen2.5-14B", 14.77),
        ("Qwen2.5-32B", 32.76),
        ("Qwen-72B", 72.29),
        ("falcon-180B", 179.5),
    ] {
        let counted = catalog.model(name).unwrap().parameters() as f64 / 1e9;
        assert!(
            (counted / billions - 1.0).abs() < 2e-3,
            "{name}: {counted} for {billions}"
        );
    }
    for (name, bytes) in [
        ("Llama-3.1-8B", 131_072),
        ("Llama-3.1-70B", 327_680),
        ("Llama-2-7b-hf", 524_288),
    ] {
        assert_eq!(catalog.model(name).unwrap().kv_bytes_per_token(), bytes);
    }
}

#[test]
fn weights_are_split_and_heads_are_not() {
    let catalog = catalog();
    let model = catalog.model("Llama-3.1-8B").unwrap();
    assert_eq!(model.layer_weight_bytes(1, 1), 2 * model.transformer_parameters());
    assert_eq!(model.layer_weight_bytes(2, 4) * 8, model.layer_weight_bytes(1, 1));
    // Of 8 KV heads, 16 GPUs hold one each.
    assert_eq!(model.kv_layer_bytes(16), model.kv_layer_bytes(8));
    assert!(model.layer_weight_bytes(16, 1) * 16 > model.layer_weight_bytes(1, 1));
    assert_eq!(model.check_layout(16, 1), Ok(()));
    for (tp, pp) in [(0, 1), (1, 0), (3, 1), (64, 1), (1, 5)] {
        assert!(model.check_layout(tp, pp).is_err(), "{tp} x {pp}");
    }
    let phi = catalog.model("phi-2").unwrap();
    let error = phi.check_layout(2, 1).unwrap_err();
    assert_eq!(
        error,
        "microsoft/phi-2 cannot be split by tensor parallelism: use 1, not 2"
    );
}

#[test]
fn a_user_adds_files_of_the_same_form() {
    let mut catalog = catalog();
    let text = "models:
  - {name: me/Mine-1B, layers: 2, q_heads: 4, kv_heads: 2, head_dim: 8, embedding_dim: 32, ff_dim: 64, vocab: 100, max_context: 99}
gpus:
  - {name: X1, memory_gib: 10, bandwidth_gb_s: 100, bf16_tflops: 10, link: {name: wire, gb_s: 10}, watts: 50}
  - {name: A40, memory_gib: 1, bandwidth_gb_s: 100, bf16_tflops: 10, link: {name: wire, gb_s: 10}, watts: 50}
";
    catalog.add("mine.yml", text).unwrap();
    assert_eq!(catalog.model("mine-1b").unwrap().layers, 2);
    assert_eq!(catalog.gpu("x1").unwrap().efficiency, Efficiency::default());
    assert_eq!(
        catalog.gpu("a40").unwrap().memory_gib,
        1.0,
        "the later entry counts"
    );
    for (text, says) in [
        ("models:\n  - {name: x, layers: 2}", "line 2"),
        ("models:\n  - {name: x, layer: 2}", "line 2"),
        (&text.replace("layers: 2", "layers: 0"), "layers is 0"),
        (
            &text.replace("kv_heads: 2", "kv_heads: 3"),
            "4 query heads cannot share 3 KV heads",
        ),
        (
            &text.replace("memory_gib: 10", "memory_gib: -1"),
            "memory_gib is -1",
        ),
        (
            &text.replace("memory_gib: 10", "memory_gib: .nan"),
            "memory_gib is NaN",
        ),
    ] {
        let error = catalog.add("mine.yml", text).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn a_hugging_face_file_is_a_model() {
    let json = r#"{"architectures": ["Qwen2ForCausalLM"], "hidden_act": "silu", "hidden_size": 3584,
        "intermediate_size": 18944, "max_position_embeddings": 131072, "model_type": "qwen2",
        "num_attention_heads": 28, "num_hidden_layers": 28, "num_key_value_heads": 4, "vocab_size": 152064,
        "tie_word_embeddings": false, "rope_theta": 1000000.0}"#;
    let read = ModelShape::from_hf_config("Qwen/Qwen2.5-7B", json).unwrap();
    let catalog = catalog();
    let known = catalog.model("Qwen2.5-7B").unwrap();
    assert!(read.same_layers(known) && read.parameters() == known.parameters());
    assert_eq!(
        catalog.profile_names(&read).collect::<Vec<_>>(),
        ["Qwen/Qwen2.5-7B", "Qwen/Qwen2-7B"]
    );
    for (json, says) in [
        ("{}", "`num_attention_heads` is missing"),
        ("nonsense", "config.json: expected"),
        (r#"{"num_local_experts": 8}"#, "mixture of experts"),
        (r#"{"kv_lora_rank": 512}"#, "latent attention"),
    ] {
        let error = ModelShape::from_hf_config("x", json).unwrap_err().to_string();
        assert!(
            error.starts_with("model `x`: ") && error.contains(says),
            "{error}"
        );
    }
}
