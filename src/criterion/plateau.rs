//! tmp
pub struct Plateau;
impl Plateau { pub fn new(_:f64,_:f64,_:f64)->Self{Self} pub fn legacy(_:f64,_:f64,_:f64)->Self{Self}}
impl super::Criterion for Plateau { fn name(&self)->&'static str {"plateau"} fn judge(&self,m:&crate::trial::Measurement,e:&super::Earlier<'_>)->super::Verdict { super::drift::Drift::new(95.0).judge(m,e) } }
