//! tmp
pub struct Welch { pub filter_buffer_s: i64, pub success_rate_percent: f64 }
impl super::Criterion for Welch { fn name(&self)->&'static str {"welch"} fn judge(&self,m:&crate::trial::Measurement,e:&super::Earlier<'_>)->super::Verdict { super::drift::Drift::new(95.0).judge(m,e) } }
