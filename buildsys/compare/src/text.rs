//! A report as people read it.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::report::{
    BytesDifference, FieldDifference, FileChange, FileDifference, LayerDifference, LayerName,
    LineSide, Report,
};

/// How a report is shown.
#[derive(Debug, Clone, Copy)]
pub struct Style<'a> {
    /// What the first is called.
    pub a: &'a str,
    /// What the second is called.
    pub b: &'a str,
    /// How many files of a layer are shown.
    pub files: usize,
}

/// The report as text: `-` begins what the first has, `+` what the second has. Empty if nothing differs.
pub fn render(report: &Report, style: &Style<'_>) -> String {
    let mut out = String::new();
    if report.same {
        return out;
    }
    let _ = writeln!(out, "--- {}\n+++ {}", style.a, style.b);
    documents(&mut out, "config", &report.config);
    documents(&mut out, "manifest", &report.manifest);
    let mut told = BTreeSet::new();
    for layer in &report.layers {
        self::layer(&mut out, layer, style);
        told.extend(layer.files.iter().take(style.files).map(|file| &file.path));
    }
    merged(&mut out, report, &told, style);
    out
}

fn documents(out: &mut String, name: &str, differences: &[FieldDifference]) {
    if differences.is_empty() {
        return;
    }
    let _ = writeln!(out, "{name}");
    for difference in differences {
        let _ = writeln!(out, "  {}", difference.field);
        if let Some(a) = &difference.a {
            let _ = writeln!(out, "    - {}", one_line(a));
        }
        if let Some(b) = &difference.b {
            let _ = writeln!(out, "    + {}", one_line(b));
        }
    }
}

fn one_line(text: &str) -> String {
    text.replace('\n', "\\n")
}

fn layer(out: &mut String, layer: &LayerDifference, style: &Style<'_>) {
    let step = |name: &LayerName| match &name.step {
        Some(step) => format!(": {}", one_line(step)),
        None => String::new(),
    };
    match (&layer.a, &layer.b) {
        (Some(a), Some(b)) => {
            let number = if a.number == b.number {
                format!("layer {}", a.number)
            } else {
                format!("layer {} and {}", a.number, b.number)
            };
            let _ = writeln!(out, "{number}{}", step(a));
            if let Some(other) = b.step.as_ref().filter(|_| a.step != b.step) {
                let _ = writeln!(out, "  written by another step: {}", one_line(other));
            }
        }
        (Some(only), None) => {
            let (entries, step) = (only.entries, step(only));
            let _ = writeln!(
                out,
                "layer {} is only in {}{step} ({entries} entries)",
                only.number, style.a
            );
        }
        (None, Some(only)) => {
            let (entries, step) = (only.entries, step(only));
            let _ = writeln!(
                out,
                "layer {} is only in {}{step} ({entries} entries)",
                only.number, style.b
            );
        }
        (None, None) => {}
    }
    for file in layer.files.iter().take(style.files) {
        self::file(out, file, style);
    }
    more(out, layer.files.len().saturating_sub(style.files));
    if let Some(difference) = &layer.bytes {
        let _ = writeln!(out, "  the entries are the same, the tars are not");
        if let Some(member) = &layer.member {
            let _ = writeln!(out, "  {member}");
        }
        bytes(out, difference);
    }
}

fn more(out: &mut String, count: usize) {
    if count > 0 {
        let _ = writeln!(out, "  and {count} more");
    }
}

/// What containers would see, as far as no layer has told it.
fn merged(out: &mut String, report: &Report, told: &BTreeSet<&String>, style: &Style<'_>) {
    if report.files.is_empty() {
        if !report.layers.is_empty() {
            let _ = writeln!(out, "merged files: the same");
        }
        return;
    }
    let new: Vec<&FileDifference> = report
        .files
        .iter()
        .filter(|file| !told.contains(&file.path))
        .collect();
    let (all, above) = (report.files.len(), report.files.len() - new.len());
    let _ = match above {
        // No layers were compared: these are all the files that there are.
        _ if report.layers.is_empty() => writeln!(out, "files: {all} differ"),
        0 => writeln!(out, "merged files: {all} differ"),
        above if above == all => {
            writeln!(out, "merged files: {all} differ, all of them shown above")
        }
        above => writeln!(
            out,
            "merged files: {all} differ, {above} of them shown above"
        ),
    };
    for file in new.iter().take(style.files) {
        self::file(out, file, style);
    }
    more(out, new.len().saturating_sub(style.files));
}

fn file(out: &mut String, file: &FileDifference, style: &Style<'_>) {
    let layers = match (file.layer_a, file.layer_b) {
        (Some(a), Some(b)) if a != b => format!(" (layer {a}, layer {b})"),
        (Some(at), _) | (None, Some(at)) => format!(" (layer {at})"),
        (None, None) => String::new(),
    };
    let _ = match file.change {
        FileChange::Changed => writeln!(out, "  {}{layers}", file.path),
        FileChange::OnlyInA => {
            writeln!(
                out,
                "  {}{layers}: {}, only in {}",
                file.path, file.kind, style.a
            )
        }
        FileChange::OnlyInB => {
            writeln!(
                out,
                "  {}{layers}: {}, only in {}",
                file.path, file.kind, style.b
            )
        }
    };
    for field in &file.fields {
        let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "none".to_owned());
        let (a, b) = (value(&field.a), value(&field.b));
        let _ = writeln!(
            out,
            "    {}: {} | {}",
            field.field,
            one_line(&a),
            one_line(&b)
        );
    }
    if let Some(difference) = &file.content {
        bytes(out, difference);
    }
}

fn bytes(out: &mut String, difference: &BytesDifference) {
    let _ = writeln!(out, "    first difference at byte {}", difference.offset);
    if difference.lines.is_empty() {
        for (sign, excerpt) in [('-', &difference.a), ('+', &difference.b)] {
            let _ = if excerpt.hex.is_empty() {
                writeln!(out, "    {sign} ends here")
            } else {
                writeln!(out, "    {sign} {:<47}  |{}|", excerpt.hex, excerpt.text)
            };
        }
        return;
    }
    for line in &difference.lines {
        let sign = match line.side {
            LineSide::A => '-',
            LineSide::B => '+',
        };
        let _ = writeln!(out, "    {sign}{:>4}: {}", line.number, line.text);
    }
    if difference.more_lines > 0 {
        let _ = writeln!(out, "    and {} lines more", difference.more_lines);
    }
}
