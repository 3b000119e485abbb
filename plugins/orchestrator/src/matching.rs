//! Whether an event may be meant by a subscription: its literal attributes. The engine decides about the rest.

use nself_plugin_api::serde_json::Value;

/// Whether an event has all attributes that one of the filters names; without filters every event has.
pub(crate) fn fits(filters: &Value, event: &Value) -> bool {
    let Some(filters) = filters.as_array().filter(|filters| !filters.is_empty()) else {
        return true;
    };
    filters.iter().any(|filter| {
        let attributes = filter.as_object();
        attributes.is_some_and(|attributes| {
            attributes
                .iter()
                .all(|(name, wanted)| event.get(name) == Some(wanted))
        })
    })
}

/// The types that the filters name, when each of them names one.
pub(crate) fn types<'a>(
    filters: impl IntoIterator<Item = &'a std::collections::BTreeMap<String, String>>,
) -> Option<Vec<String>> {
    let types: Option<Vec<String>> = filters
        .into_iter()
        .map(|filter| filter.get("type").cloned())
        .collect();
    types.filter(|types| !types.is_empty())
}

#[cfg(test)]
mod tests {
    use nself_plugin_api::serde_json::json;

    use super::*;

    #[test]
    fn an_event_fits_when_one_filter_says_nothing_against_it() {
        let event = json!({"type": "a.b", "source": "/x"});
        for (filters, expected) in [
            (json!([]), true),
            (json!([{"type": "a.b"}]), true),
            (json!([{"type": "a.c"}, {"source": "/x"}]), true),
            (json!([{"type": "a.b", "source": "/y"}]), false),
            (json!([{}]), true),
        ] {
            assert_eq!(fits(&filters, &event), expected, "{filters}");
        }
    }
}
