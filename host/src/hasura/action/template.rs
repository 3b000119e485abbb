//! Kriti templates of actions, as far as they are written here.

use std::fmt::Write as _;

/// What becomes of an answer: the host's `data`, or its error as Hasura wants it. An answer beyond 499 stays an internal error.
pub(super) const ANSWER: &str = "\
{{ if $response.status < 300 }}
{{ $body.data }}
{{ else }}
{\"message\": {{ $body.error }}, \"extensions\": {\"code\": {{ $body.code }}}}
{{ end }}";

/// The address of a route, with the arguments in its place.
pub(super) struct Template(String);

impl Template {
    /// An argument is one segment of the path, whatever is in it. `is_text` says of the parameter at that place whether it is
    /// one: only texts can be escaped, and only they need it.
    pub(super) fn of_path(path: &str, is_text: impl Fn(usize, &str) -> bool) -> Self {
        let mut text = "{{$base_url}}".to_owned();
        let mut position = 0;
        for segment in path.split('/').skip(1) {
            text.push('/');
            let Some(name) = parameter(segment) else {
                text.push_str(segment);
                continue;
            };
            let _ = if is_text(position, name) {
                write!(text, "{{{{escapeUri($body.input.{name})}}}}")
            } else {
                write!(text, "{{{{$body.input.{name}}}}}")
            };
            position += 1;
        }
        Self(text)
    }

    pub(super) fn text(self) -> String {
        self.0
    }
}

/// Names of a path's parameters, in their order.
pub(super) fn parameters(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter_map(parameter)
}

fn parameter(segment: &str) -> Option<&str> {
    segment.strip_prefix('{')?.strip_suffix('}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_argument_stays_within_its_segment() {
        let path = "/families/{id}/members/{member_id}/codes/{number}";
        assert_eq!(
            Template::of_path(path, |position, _| position < 2).text(),
            "{{$base_url}}/families/{{escapeUri($body.input.id)}}/members/{{escapeUri($body.input.member_id)}}/codes/{{$body.input.number}}"
        );
        assert_eq!(
            parameters(path).collect::<Vec<_>>(),
            ["id", "member_id", "number"]
        );
    }
}
