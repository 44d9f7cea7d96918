use super::*;
use crate::sim::catalog::Catalog;

fn model(gpu: &str, model: &str, tp: u32, pp: u32) -> Roofline {
    let catalog = Catalog::built_in().unwrap();
    Roofline::new(catalog.model(model).unwrap(), catalog.gpu(gpu).unwrap(), tp, pp).unwrap()
}

fn decode(batch: u32, kv: u32) -> BatchShape {
    let mut shape = BatchShape::default();
    (0..batch).for_each(|_| shape.add_decode(kv));
    shape
}

fn prefill(chunk: u32) -> BatchShape {
    let mut shape = BatchShape::default();
    shape.add_prefill(0, chunk, true);
    shape
}

fn ms(model: &Roofline, shape: &BatchShape) -> f64 {
    1e3 * model.stage(shape, true).total.as_seconds()
}

/// Kernel measurements of Llama-3.1-8B in BF16 with vLLM, contexts of 512 to 768 tokens.
#[test]
fn an_8b_model_takes_what_is_measured() {
    let rows = [
        (
            "h100",
            [6.17, 6.50, 7.87, 9.13, 10.97, 15.89],
            [7.6, 12.0, 43.5, 199.7],
        ),
        (
            "a100",
            [11.83, 12.34, 14.28, 15.76, 21.17, 35.69],
            [14.5, 36.0, 125.2, 557.0],
        ),
    ];
    for (gpu, decodes, prefills) in rows {
        let model = model(gpu, "meta-llama/Llama-3.1-8B", 1, 1);
        for (batch, expected) in [1, 8, 32, 64, 128, 256].into_iter().zip(decodes) {
            let error = ms(&model, &decode(batch, 640)) / expected - 1.0;
            assert!(error.abs() < 0.07, "{gpu}, {batch} sequences: {error}");
        }
        for (tokens, expected) in [128, 512, 2048, 8192].into_iter().zip(prefills) {
            let error = ms(&model, &prefill(tokens)) / expected - 1.0;
            assert!(error.abs() < 0.14, "{gpu}, {tokens} tokens: {error}");
        }
    }
}

#[test]
fn splitting_costs_communication_and_saves_the_rest() {
    let shape = decode(64, 1000);
    let [one, two, four] = [1, 2, 4].map(|tp| ms(&model("h100", "llama-3.1-70b", tp, 1), &shape));
    assert!(two < one && four < two && four > one / 4.0, "{one} {two} {four}");
    let stages = model("h100", "llama-3.1-70b", 1, 4);
    let (first, last) = (stages.stage(&shape, false), stages.stage(&shape, true));
    assert!(first.total < last.total, "the head is the last stage's");
    assert_eq!(first.overhead, Time::ZERO);
    assert!(1e3 * last.total.as_seconds() < one);
    // Two nodes: what is sent on crosses the slower network.
    let near = model("h100", "llama-3.1-70b", 4, 2)
        .stage(&prefill(8192), false)
        .total;
    let far = model("h100", "llama-3.1-70b", 8, 2)
        .stage(&prefill(8192), false)
        .total;
    assert!(far > Time::from_us(1e6 * near.as_seconds() / 2.0));
}

#[test]
fn eight_bits_halve_the_weights() {
    let catalog = Catalog::built_in().unwrap();
    let mut shape = catalog.model("llama-3.1-8b").unwrap().clone();
    let gpu = catalog.gpu("h100").unwrap();
    let wide = ms(&Roofline::new(&shape, gpu, 1, 1).unwrap(), &decode(1, 100));
    shape.weight_bytes = 1;
    let narrow = ms(&Roofline::new(&shape, gpu, 1, 1).unwrap(), &decode(1, 100));
    assert!(narrow > 0.5 * wide && narrow < 0.6 * wide, "{narrow} of {wide}");
}

#[test]
fn an_impossible_layout_is_refused() {
    let catalog = Catalog::built_in().unwrap();
    let (model, gpu) = (
        catalog.model("llama-3.1-8b").unwrap(),
        catalog.gpu("h100").unwrap(),
    );
    let error = Roofline::new(model, gpu, 3, 1).unwrap_err();
    assert_eq!(
        error.to_string(),
        "tensor parallelism 3 does not divide the 32 query heads of meta-llama/Llama-3.1-8B"
    );
}
