//! What the configuration says about the collector.

use std::{path::PathBuf, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use percent_encoding::percent_decode_str;
use url::Url;
use uuid::Uuid;

use super::{
    Signal,
    wire::{Message, Value},
};
use crate::{
    config::{Config, TelemetryExporter, TracesSampler},
    telemetry::sampler::Sampler,
};

/// What is wrong with `[telemetry]`. No value of a header is repeated.
#[derive(Debug, thiserror::Error)]
pub enum OtlpError {
    /// No address.
    #[error(
        "telemetry.endpoint: {0}: write it as http://127.0.0.1:4318, where the collector takes OTLP over HTTP"
    )]
    Endpoint(&'static str),
    /// A list of pairs that is none.
    #[error("telemetry.{key}: entry {number} {reason}: write name=value, and a comma between two")]
    Pairs {
        /// The key.
        key: &'static str,
        /// Which entry, from 1.
        number: usize,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// No part of all traces.
    #[error("telemetry.traces_sampler_arg: `{0}` is no number from 0 to 1, such as 0.1")]
    Ratio(String),
    /// The certificates cannot be used.
    #[error("telemetry.certificate: {0}")]
    Certificate(String),
}

/// Where traces and metrics go.
#[derive(Debug, Clone)]
pub struct OtlpSettings {
    endpoint: Url,
    pub(super) headers: HeaderMap,
    pub(super) certificate: Option<PathBuf>,
    /// A `Resource`.
    pub(super) resource: Message,
    pub(super) traces: bool,
    pub(super) sampler: Sampler,
    pub(super) metrics: bool,
    pub(super) metric_interval: Duration,
}

impl OtlpSettings {
    /// What is configured, if anything is.
    ///
    /// # Errors
    ///
    /// [`OtlpError`] names the key.
    pub fn of(config: &Config) -> Result<Option<Self>, OtlpError> {
        let telemetry = &config.telemetry;
        let Some(endpoint) = &telemetry.endpoint else {
            return Ok(None);
        };
        let headers = telemetry.headers.as_ref();
        Ok(Some(Self {
            endpoint: address(endpoint)?,
            headers: headers_of(headers.map_or("", |headers| headers.expose()))?,
            certificate: telemetry
                .certificate
                .as_ref()
                .map(|path| config.resolve(path)),
            resource: resource(config)?,
            traces: telemetry.traces_exporter == TelemetryExporter::Otlp,
            sampler: sampler(telemetry.traces_sampler, &telemetry.traces_sampler_arg)?,
            metrics: telemetry.metrics_exporter == TelemetryExporter::Otlp,
            metric_interval: Duration::from_millis(telemetry.metric_export_interval_ms),
        }))
    }

    /// Where a signal goes.
    pub(super) fn uri(&self, signal: Signal) -> Uri {
        let mut url = self.endpoint.clone();
        let path = url.path().trim_end_matches('/');
        let path = format!("{path}/v1/{}", signal.name());
        url.set_path(&path);
        let uri = url.as_str().parse();
        uri.expect("an http address without credentials is one for requests")
    }

    /// What is to be sent.
    pub(super) fn signals(&self) -> impl Iterator<Item = Signal> {
        let all = [
            (Signal::Traces, self.traces),
            (Signal::Metrics, self.metrics),
        ];
        all.into_iter()
            .filter_map(|(signal, is_sent)| is_sent.then_some(signal))
    }

    /// The collector, for people: scheme, host and port.
    pub fn origin(&self) -> String {
        self.endpoint.origin().ascii_serialization()
    }
}

fn address(text: &str) -> Result<Url, OtlpError> {
    let url = Url::parse(text).map_err(|_| OtlpError::Endpoint("it is no address"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(OtlpError::Endpoint("it is neither http nor https"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(OtlpError::Endpoint(
            "it carries credentials, which belong into telemetry.headers",
        ));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(OtlpError::Endpoint("it has more than a path"));
    }
    // What a request is sent to is stricter than what a browser reads.
    url.as_str()
        .parse::<Uri>()
        .map_err(|_| OtlpError::Endpoint("it cannot be sent to"))?;
    Ok(url)
}

fn sampler(kind: TracesSampler, argument: &str) -> Result<Sampler, OtlpError> {
    let (ratio, follows_parent) = match kind {
        TracesSampler::AlwaysOn => (Some(1.0), false),
        TracesSampler::AlwaysOff => (Some(0.0), false),
        TracesSampler::Traceidratio => (None, false),
        TracesSampler::ParentbasedAlwaysOn => (Some(1.0), true),
        TracesSampler::ParentbasedAlwaysOff => (Some(0.0), true),
        TracesSampler::ParentbasedTraceidratio => (None, true),
    };
    let ratio = ratio.or_else(|| {
        let ratio = argument.trim().parse().ok();
        ratio.filter(|ratio| (0.0..=1.0).contains(ratio))
    });
    let ratio = ratio.ok_or_else(|| OtlpError::Ratio(argument.to_owned()))?;
    Ok(Sampler::new(ratio, follows_parent))
}

/// Pairs as OpenTelemetry writes them into a variable: those of W3C Baggage, with percent signs before what a value cannot hold.
fn pairs<'a>(
    key: &'static str,
    text: &'a str,
) -> impl Iterator<Item = Result<(usize, &'a str, String), OtlpError>> {
    let entries = (1..).zip(text.split(',').map(str::trim));
    let stated = entries.filter(|(_, entry)| !entry.is_empty());
    stated.map(move |(number, entry)| {
        let wrong = |reason| OtlpError::Pairs {
            key,
            number,
            reason,
        };
        let (name, value) = entry.split_once('=').ok_or(wrong("has no `=`"))?;
        let value = percent_decode_str(value.trim()).decode_utf8();
        let value = value.map_err(|_| wrong("has a value that is no text"))?;
        match name.trim() {
            "" => Err(wrong("has no name")),
            name => Ok((number, name, value.into_owned())),
        }
    })
}

fn headers_of(text: &str) -> Result<HeaderMap, OtlpError> {
    let mut headers = HeaderMap::new();
    for pair in pairs("headers", text) {
        let (number, name, value) = pair?;
        let wrong = |reason| OtlpError::Pairs {
            key: "headers",
            number,
            reason,
        };
        let name = HeaderName::from_bytes(name.as_bytes());
        let name = name.map_err(|_| wrong("is not named as headers are"))?;
        let value = HeaderValue::from_str(&value);
        let mut value = value.map_err(|_| wrong("has a value that no header can have"))?;
        value.set_sensitive(true);
        headers.append(name, value);
    }
    Ok(headers)
}

/// Who sends: what the operator says of this process goes before what it says of itself.
fn resource(config: &Config) -> Result<Message, OtlpError> {
    let telemetry = &config.telemetry;
    let version = env!("CARGO_PKG_VERSION");
    let mut attributes = vec![
        ("service.name".to_owned(), "nself".to_owned()),
        ("service.version".to_owned(), version.to_owned()),
        ("service.instance.id".to_owned(), Uuid::now_v7().to_string()),
        (
            "deployment.environment.name".to_owned(),
            config.environment.as_str().to_owned(),
        ),
        ("telemetry.sdk.name".to_owned(), "nself".to_owned()),
        ("telemetry.sdk.language".to_owned(), "rust".to_owned()),
        ("telemetry.sdk.version".to_owned(), version.to_owned()),
    ];
    let mut set = |name: &str, value: String| {
        attributes.retain(|(known, _)| known != name);
        attributes.push((name.to_owned(), value));
    };
    for pair in pairs("resource_attributes", &telemetry.resource_attributes) {
        let (_, name, value) = pair?;
        set(name, value);
    }
    if let Some(name) = &telemetry.service_name {
        set("service.name", name.clone());
    }
    let mut resource = Message::default();
    for (name, value) in &attributes {
        resource.attribute(1, name, Value::Text(value));
    }
    Ok(resource)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;

    fn config(endpoint: &str) -> Config {
        let mut config = Config::default();
        config.telemetry.endpoint = Some(endpoint.to_owned());
        config
    }

    #[track_caller]
    fn check_refused(config: &Config, expected: &str) {
        let error = OtlpSettings::of(config).expect_err("it is wrong");
        assert!(error.to_string().starts_with(expected), "{error}");
    }

    #[test]
    fn each_signal_has_its_path_below_the_endpoint() {
        for (endpoint, expected) in [
            ("http://localhost:4318", "http://localhost:4318/v1/traces"),
            (
                "https://o.example/otlp/",
                "https://o.example/otlp/v1/traces",
            ),
        ] {
            let settings = OtlpSettings::of(&config(endpoint)).expect("an address");
            let settings = settings.expect("it is on");
            assert_eq!(settings.uri(Signal::Traces).to_string(), expected);
        }
        assert!(
            OtlpSettings::of(&Config::default())
                .expect("nothing is wrong")
                .is_none()
        );
    }

    #[test]
    fn what_does_not_read_is_named_and_no_value_is_repeated() {
        for (endpoint, expected) in [
            ("localhost:4318", "telemetry.endpoint: it is neither http"),
            ("collector", "telemetry.endpoint: it is no address"),
            (
                "http://u:p@o.example",
                "telemetry.endpoint: it carries credentials",
            ),
            (
                "http://o.example?key=1",
                "telemetry.endpoint: it has more than",
            ),
        ] {
            check_refused(&config(endpoint), expected);
        }
        for (headers, expected) in [
            ("a=1,canary", "telemetry.headers: entry 2 has no `=`"),
            ("=canary", "telemetry.headers: entry 1 has no name"),
            ("a b=canary", "telemetry.headers: entry 1 is not named"),
            (
                "a=canary%0A",
                "telemetry.headers: entry 1 has a value that no header",
            ),
            (
                "a=canary%ff",
                "telemetry.headers: entry 1 has a value that is no text",
            ),
        ] {
            let mut config = config("http://o.example");
            config.telemetry.headers = Some(Secret::new(headers.to_owned()));
            check_refused(&config, expected);
            let said = OtlpSettings::of(&config).expect_err("it is wrong");
            assert!(!format!("{said} {said:?}").contains("canary"), "{said:?}");
        }
        let mut config = config("http://o.example");
        config.telemetry.traces_sampler = TracesSampler::Traceidratio;
        for ratio in ["1.5", "-1", "half", "", "NaN"] {
            ratio.clone_into(&mut config.telemetry.traces_sampler_arg);
            check_refused(&config, "telemetry.traces_sampler_arg");
        }
    }

    #[test]
    fn values_of_headers_are_decoded_and_not_printed() {
        let headers = headers_of("authorization=Basic%20canary==, x-org = 7 ,").expect("headers");
        assert_eq!(headers["authorization"], "Basic canary==");
        assert_eq!(headers["x-org"], "7");
        assert!(!format!("{headers:?}").contains("canary"), "{headers:?}");
    }
}
