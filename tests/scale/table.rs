//! Figures of several sizes side by side, with their growth, and what is promised of them.

/// What is promised of a figure.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Promise {
    /// Nothing: it is shown.
    Shown,
    /// At every size exactly this.
    Is(f64),
    /// At every size at most this.
    AtMost(f64),
    /// From one size to the next at most this many times as much.
    Grows(f64),
    /// For each workload that a size has more than the one before, at most this much more.
    EachFurther(f64),
}

/// A figure.
#[derive(Clone, Debug)]
pub(crate) struct Figure {
    pub(crate) name: &'static str,
    pub(crate) value: f64,
    pub(crate) promise: Promise,
}

/// The figures of one size.
#[derive(Clone, Debug, Default)]
pub(crate) struct Figures(pub(crate) Vec<Figure>);

impl Figures {
    pub(crate) fn add(&mut self, name: &'static str, value: f64, promise: Promise) {
        println!("    {name}: {}", shown(value));
        self.0.push(Figure { name, value, promise });
    }
}

/// A count as a figure.
pub(crate) fn number(count: usize) -> f64 {
    f64::from(u32::try_from(count).expect("less than billions"))
}

fn shown(value: f64) -> String {
    if value.fract().abs() < 1e-9 || value.abs() >= 1_000.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}

/// Prints a table in Markdown; returns what is not as promised.
pub(crate) fn print(sizes: &[(usize, Figures)]) -> Vec<String> {
    let mut broken = Vec::new();
    let heads: Vec<_> = sizes.iter().map(|(size, _)| size.to_string()).collect();
    println!("\n| | {} | growth | promised |\n|---|{}---:|---|", heads.join(" | "), "---:|".repeat(sizes.len()));
    let Some((_, first)) = sizes.first() else { return broken };
    for (row, figure) in first.0.iter().enumerate() {
        let values: Vec<f64> = sizes.iter().map(|(_, figures)| figures.0[row].value).collect();
        let growth = values.last().map(|last| last / values[0]).filter(|_| values.len() > 1 && values[0] > 0.0);
        let mut growth = growth.map(|growth| format!("{growth:.2}")).unwrap_or_default();
        let mut fault = |what: String| broken.push(format!("{}: {what}", figure.name));
        let promise = match figure.promise {
            Promise::Shown => String::new(),
            Promise::Is(wanted) => {
                for (size, figures) in sizes {
                    // Where it depends on the size, each has its own.
                    let Promise::Is(wanted) = figures.0[row].promise else { continue };
                    if (figures.0[row].value - wanted).abs() > 1e-9 {
                        fault(format!("{} at {size}, not {wanted}", figures.0[row].value));
                    }
                }
                if sizes.iter().all(
                    |(_, figures)| matches!(figures.0[row].promise, Promise::Is(own) if (own - wanted).abs() < 1e-9),
                ) {
                    format!("exactly {}", shown(wanted))
                } else {
                    "exactly".to_owned()
                }
            }
            Promise::AtMost(most) => {
                for (size, value) in heads.iter().zip(&values).filter(|(_, value)| **value > most) {
                    fault(format!("{value} at {size}, more than {most}"));
                }
                format!("at most {}", shown(most))
            }
            Promise::Grows(most) => {
                for pair in values.windows(2).filter(|pair| pair[1] > pair[0] * most) {
                    fault(format!("{} after {}: more than {most} times", pair[1], pair[0]));
                }
                format!("growth at most {most}")
            }
            Promise::EachFurther(most) => {
                for (sizes, pair) in sizes.windows(2).zip(values.windows(2)) {
                    let each = (pair[1] - pair[0]) / number(sizes[1].0 - sizes[0].0);
                    growth = format!("{} for each further", shown(each));
                    if each > most {
                        fault(format!("{each} for each further workload, more than {most}"));
                    }
                }
                format!("at most {} for each further", shown(most))
            }
        };
        let values: Vec<_> = values.into_iter().map(shown).collect();
        println!("| {} | {} | {growth} | {promise} |", figure.name, values.join(" | "));
    }
    broken
}
