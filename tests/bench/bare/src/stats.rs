//! Rows of figures: median rate, spread, latencies; written as a table.
use std::time::Duration;

pub struct Row {
    pub name: String,
    pub rate: f64,
    pub lo: f64,
    pub hi: f64,
    pub unit: String,
    pub p50_us: f64,
    pub p99_us: f64,
    pub note: String,
}

#[derive(Default)]
pub struct Report {
    pub rows: Vec<Row>,
    pub facts: Vec<(String, String)>,
}

pub fn pct(v: &mut [f64], p: f64) -> f64 {
    if v.is_empty() {
        return f64::NAN;
    }
    v.sort_by(|a, b| a.partial_cmp(b).unwrap());
    v[(((v.len() - 1) as f64) * p).round() as usize]
}

pub fn median(v: &[f64]) -> f64 {
    let mut v = v.to_vec();
    pct(&mut v, 0.5)
}

/// One repetition's outcome: units done, wall time, per-operation latencies in microseconds.
pub struct Rep {
    pub units: u64,
    pub wall: Duration,
    pub lat_us: Vec<f64>,
    pub note: String,
}

impl Report {
    pub fn fact(&mut self, k: &str, v: impl Into<String>) {
        let v = v.into();
        eprintln!("{k}: {v}");
        self.facts.push((k.into(), v));
    }
    pub fn add(&mut self, name: &str, unit: &str, reps: Vec<Rep>) {
        let rates: Vec<f64> = reps.iter().map(|r| r.units as f64 / r.wall.as_secs_f64()).collect();
        let (mut p50s, mut p99s) = (vec![], vec![]);
        let note = reps.last().map(|r| r.note.clone()).unwrap_or_default();
        for mut r in reps {
            p50s.push(pct(&mut r.lat_us, 0.5));
            p99s.push(pct(&mut r.lat_us, 0.99));
        }
        let row = Row {
            name: name.into(),
            rate: median(&rates),
            lo: rates.iter().cloned().fold(f64::MAX, f64::min),
            hi: rates.iter().cloned().fold(0.0, f64::max),
            unit: unit.into(),
            p50_us: median(&p50s),
            p99_us: median(&p99s),
            note,
        };
        eprintln!(
            "{:58} {:>10.0} {:12} [{:.0}..{:.0}] p50 {:.0} us p99 {:.0} us {}",
            row.name, row.rate, row.unit, row.lo, row.hi, row.p50_us, row.p99_us, row.note
        );
        self.rows.push(row);
    }
    pub fn markdown(&self) -> String {
        let mut s = String::new();
        for (k, v) in &self.facts {
            s += &format!("- {k}: {v}\n");
        }
        s += "\n| what | median rate | unit | min..max | p50 us | p99 us | note |\n|---|---:|---|---|---:|---:|---|\n";
        for r in &self.rows {
            s += &format!(
                "| {} | {:.0} | {} | {:.0}..{:.0} | {:.0} | {:.0} | {} |\n",
                r.name, r.rate, r.unit, r.lo, r.hi, r.p50_us, r.p99_us, r.note
            );
        }
        s
    }
}
