//! Names and labels of metrics, as Prometheus allows them.

use std::collections::BTreeMap;

/// Longest name of a metric or label.
const NAME_BYTES_MAX: usize = 100;
/// Longest value of a label.
const VALUE_BYTES_MAX: usize = 256;
/// Labels of one metric.
const LABELS_MAX: usize = 10;

/// Checks `[a-z_][a-z0-9_]*`.
pub(super) fn check_name(name: &str) -> Result<(), String> {
    let mut chars = name.chars();
    let starts = chars
        .next()
        .is_some_and(|char| char.is_ascii_lowercase() || char == '_');
    let goes_on =
        chars.all(|char| char.is_ascii_lowercase() || char.is_ascii_digit() || char == '_');
    if !starts || !goes_on {
        return Err(format!(
            "has the name {name:?}: write lower-case letters, digits and _, not starting with a digit"
        ));
    }
    if name.len() > NAME_BYTES_MAX {
        return Err(format!("has a name longer than {NAME_BYTES_MAX} bytes"));
    }
    Ok(())
}

/// Labels from a JSON object of strings, in the order of their names.
pub(super) fn parse_labels(json: &str) -> Result<Vec<(String, String)>, String> {
    if json.is_empty() {
        return Ok(Vec::new());
    }
    let labels: BTreeMap<String, String> = serde_json::from_str(json)
        .map_err(|_| "has labels that are not a JSON object of strings".to_owned())?;
    if labels.len() > LABELS_MAX {
        return Err(format!("has more than {LABELS_MAX} labels"));
    }
    for (name, value) in &labels {
        check_name(name).map_err(|reason| format!("has a label that {reason}"))?;
        if matches!(name.as_str(), "plugin" | "le") || name.starts_with("__") {
            return Err(format!(
                "has the label {name:?}, which is reserved: choose another name"
            ));
        }
        if value.len() > VALUE_BYTES_MAX {
            return Err(format!(
                "has a value of label {name:?} longer than {VALUE_BYTES_MAX} bytes"
            ));
        }
    }
    Ok(labels.into_iter().collect())
}
