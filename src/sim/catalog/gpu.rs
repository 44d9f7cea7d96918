//! What is known of a GPU.

use serde::{Deserialize, Serialize};

/// A GPU. Dense rates; memory as its driver shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gpu {
    /// Its name.
    pub name: String,
    /// Other names.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// Memory as the driver shows it, in GiB.
    pub memory_gib: f64,
    /// Memory bandwidth, in GB/s.
    pub bandwidth_gb_s: f64,
    /// Dense BF16 rate, in TFLOPS.
    pub bf16_tflops: f64,
    /// Dense FP8 rate, in TFLOPS, where it has one.
    #[serde(default)]
    pub fp8_tflops: Option<f64>,
    /// How it is joined to the others of its node.
    pub link: Link,
    /// To other nodes, one way, in GB/s per GPU.
    #[serde(default = "inter_node")]
    pub inter_node_gb_s: f64,
    /// GPUs of a node.
    #[serde(default = "eight")]
    pub per_node: u32,
    /// Power limit, in W.
    pub watts: f64,
    /// The GPU whose compute profiles hold for it too, where it differs in nothing that they measure: how it is joined to
    /// others, say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profiled_as: Option<String>,
    /// What Vidur takes it to be; `None` where Vidur does not know it.
    #[serde(default)]
    pub vidur: Option<VidurDevice>,
    /// How much longer than the datasheet says the parts of an iteration take.
    #[serde(default)]
    pub efficiency: Efficiency,
}

/// How GPUs of a node are joined.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// `NVLink4`, `PCIe4`, ...
    pub name: String,
    /// Both directions together, in GB/s per GPU.
    pub gb_s: f64,
}

/// A device as Vidur describes it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VidurDevice {
    /// Memory, in GB; Vidur counts them as GiB.
    pub memory_gb: f64,
    /// Rate, in TFLOPS.
    pub tflops: f64,
}

/// Factors and constants of the roofline: time is the datasheet's time times the factor.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Efficiency {
    /// Streaming the weights.
    pub weights: f64,
    /// Matrix multiplications.
    pub gemm: f64,
    /// Reading the KV cache.
    pub kv: f64,
    /// Attention of prefills.
    pub attention: f64,
    /// Communication.
    pub communication: f64,
    /// Launching a layer, in us.
    pub layer_us: f64,
    /// Scheduling and preparing a sequence, in us.
    pub sequence_us: f64,
    /// Each iteration, in us.
    pub step_us: f64,
}

impl Default for Efficiency {
    fn default() -> Self {
        Self {
            weights: 1.4,
            gemm: 1.4,
            kv: 1.5,
            attention: 2.5,
            communication: 1.3,
            layer_us: 5.0,
            sequence_us: 4.0,
            step_us: 150.0,
        }
    }
}

const fn inter_node() -> f64 {
    25.0
}

const fn eight() -> u32 {
    8
}

impl Gpu {
    /// Memory in bytes.
    pub fn memory_bytes(&self) -> f64 {
        self.memory_gib * f64::from(1 << 30)
    }

    /// Bytes a second that its memory moves by the datasheet.
    pub fn bandwidth(&self) -> f64 {
        self.bandwidth_gb_s * 1e9
    }

    /// Operations a second by the datasheet, for weights of that many bytes: FP8 for one, where the GPU has it.
    pub fn flops(&self, weight_bytes: u32) -> f64 {
        let tflops = if weight_bytes == 1 {
            self.fp8_tflops.unwrap_or(self.bf16_tflops)
        } else {
            self.bf16_tflops
        };
        tflops * 1e12
    }

    pub(super) fn is_called(&self, name: &str) -> bool {
        let wanted = plain(name);
        std::iter::once(&self.name)
            .chain(&self.aliases)
            .any(|known| plain(known) == wanted)
    }

    pub(super) fn check(&self) -> Result<(), String> {
        let e = &self.efficiency;
        let rates = [
            ("memory_gib", self.memory_gib),
            ("bandwidth_gb_s", self.bandwidth_gb_s),
            ("bf16_tflops", self.bf16_tflops),
            ("fp8_tflops", self.fp8_tflops.unwrap_or(1.0)),
            ("link.gb_s", self.link.gb_s),
            ("inter_node_gb_s", self.inter_node_gb_s),
            ("per_node", f64::from(self.per_node)),
            ("efficiency.weights", e.weights),
            ("efficiency.gemm", e.gemm),
            ("efficiency.kv", e.kv),
            ("efficiency.attention", e.attention),
            ("efficiency.communication", e.communication),
        ];
        let constants = [
            ("layer_us", e.layer_us),
            ("sequence_us", e.sequence_us),
            ("step_us", e.step_us),
        ];
        for (key, value) in rates {
            if !(value > 0.0 && value.is_finite()) {
                return Err(format!(
                    "GPU `{}`: {key} is {value}; it must be above 0",
                    self.name
                ));
            }
        }
        for (key, value) in constants {
            if !(value >= 0.0 && value.is_finite()) {
                return Err(format!(
                    "GPU `{}`: efficiency.{key} is {value}; it must not be below 0",
                    self.name
                ));
            }
        }
        Ok(())
    }
}

/// Letters and digits alone, without the maker, whom drivers name and people leave out.
fn plain(name: &str) -> String {
    let plain: String = name
        .chars()
        .filter(|c| c.is_alphanumeric())
        .flat_map(char::to_lowercase)
        .collect();
    let bare = ["nvidia", "amdinstinct", "amd"]
        .iter()
        .find_map(|maker| plain.strip_prefix(maker));
    bare.map(str::to_owned).unwrap_or(plain)
}
