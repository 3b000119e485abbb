//! What enabled plugins bring along: fragments of tables, actions, and the routes that webhooks can lead to.

use super::{
    action::Actions,
    fragment::{Fragment, FragmentError},
    served::Routes,
};
use crate::{plugin::manifest::Manifest, policy::Policy};

/// All of it.
#[derive(Debug, Default)]
pub struct Brought {
    /// Tables of plugins.
    pub fragments: Vec<Fragment>,
    /// Root fields that are routes.
    pub actions: Actions,
    /// What the host answers while these plugins run.
    pub routes: Routes,
}

impl Brought {
    /// By these plugins.
    ///
    /// # Errors
    ///
    /// A fragment that is none.
    pub fn by<'a>(
        plugins: impl IntoIterator<Item = &'a Manifest>,
        policy: &Policy,
    ) -> Result<Self, FragmentError> {
        let mut brought = Self::default();
        for manifest in plugins {
            brought.fragments.extend(Fragment::all(manifest)?);
            brought.actions.add(manifest, policy);
            brought.routes.add(manifest);
        }
        Ok(brought)
    }
}
