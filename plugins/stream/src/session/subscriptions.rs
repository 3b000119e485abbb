//! What one client is subscribed to. Most are subscribed to a few channels, and there are thousands of them: a hash table for each would
//! be several times as large as what is in it.

use std::sync::Arc;

use crate::channel::Channel;

/// Channels by the one name that each has, and in its order.
#[derive(Default)]
pub(super) struct Subscriptions(Vec<Channel>);

impl Subscriptions {
    fn find(&self, name: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|channel| (*channel.name).cmp(name))
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn contains_key(&self, name: &str) -> bool {
        self.find(name).is_ok()
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &Channel> {
        self.0.iter()
    }

    /// Takes one in; what was there by its name.
    pub(super) fn insert(&mut self, name: &str, channel: Channel) -> Option<Channel> {
        match self.find(name) {
            Ok(at) => Some(std::mem::replace(&mut self.0[at], channel)),
            Err(at) => {
                if self.0.len() == self.0.capacity() {
                    self.0.reserve_exact(1 + self.0.len() / 2);
                }
                self.0.insert(at, channel);
                None
            }
        }
    }

    pub(super) fn remove(&mut self, name: &str) -> Option<Channel> {
        let at = self.find(name).ok()?;
        Some(self.0.remove(at))
    }

    /// Takes out those of which that is so.
    pub(super) fn extract_if(
        &mut self,
        is_so: impl Fn(&str, &Channel) -> bool,
    ) -> impl Iterator<Item = (Arc<str>, Channel)> {
        let extracted = self
            .0
            .extract_if(.., move |channel| is_so(&channel.name, channel));
        extracted.map(|channel| (Arc::clone(&channel.name), channel))
    }

    /// Takes all out.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = (Arc<str>, Channel)> {
        let all = std::mem::take(&mut self.0).into_iter();
        all.map(|channel| (Arc::clone(&channel.name), channel))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{channel::Namespaces, config::Config};

    #[test]
    fn they_are_found_by_their_names_until_they_are_taken_out() {
        let namespaces = Config::default().all_namespaces();
        let namespaces = Namespaces::new(namespaces.expect("the built-in ones are good"));
        let names = ["public:b", "public:d", "public:a", "public:c"];
        let mut subscriptions = Subscriptions::default();
        for name in names {
            let channel = namespaces.find(name).expect("a channel");
            assert!(subscriptions.insert(name, channel.clone()).is_none());
            let again = subscriptions.insert(name, channel).map(|one| one.name);
            assert_eq!(again.as_deref(), Some(name));
        }
        assert_eq!(subscriptions.len(), 4);
        assert!(names.iter().all(|name| subscriptions.contains_key(name)));
        assert!(!subscriptions.contains_key("public:aa"));
        let removed = subscriptions.remove("public:c").map(|one| one.name);
        assert_eq!(removed.as_deref(), Some("public:c"));
        assert!(subscriptions.remove("public:c").is_none());
        let is_late = |name: &str, _: &Channel| name > "public:a";
        let late: Vec<_> = subscriptions.extract_if(is_late).collect();
        assert_eq!(
            late.iter().map(|(name, _)| &**name).collect::<Vec<_>>(),
            ["public:b", "public:d"]
        );
        let rest: Vec<_> = subscriptions.drain().map(|(name, _)| name).collect();
        assert_eq!(rest, ["public:a".into()]);
        assert_eq!(subscriptions.len(), 0);
    }
}
