//! The export: the note with the manifest, and the entry.

/// Makes a plugin loadable: `export_plugin!(Notes);` in `lib.rs`, once per crate.
///
/// It writes the manifest into the section `.note.nself` and exports the symbol `nself_plugin_entry`.
#[macro_export]
macro_rules! export_plugin {
    ($Plugin:ty) => {
        const _: () = {
            #[allow(
                long_running_const_eval,
                reason = "a manifest holds all of the plugin's SQL"
            )]
            const LEN: usize =
                $crate::manifest::write::<$Plugin, 0>($crate::json::Json::new()).len();

            #[allow(
                long_running_const_eval,
                reason = "a manifest holds all of the plugin's SQL"
            )]
            const MANIFEST: [u8; LEN] =
                $crate::manifest::write::<$Plugin, LEN>($crate::json::Json::new()).finish();

            #[used]
            #[unsafe(link_section = ".note.nself")]
            static NOTE: $crate::abi::note::Note<LEN> = $crate::abi::note::Note::new(MANIFEST);

            unsafe extern "C" fn create(
                host: $crate::abi::entry::Host,
                config: $crate::abi::bytes::Str<'_>,
            ) -> $crate::abi::future::Fut<$crate::abi::instance::Instance> {
                $crate::abi::panic::guard(|| $crate::runtime::create::<$Plugin>(host, config))
                    .unwrap_or_else($crate::abi::future::Fut::failed)
            }

            #[unsafe(no_mangle)]
            static nself_plugin_entry: $crate::abi::entry::Entry = $crate::abi::entry::Entry::new(
                $crate::manifest::needs(
                    &<$Plugin as $crate::Plugin>::REQUIRES,
                    <$Plugin as $crate::Plugin>::ROUTES,
                ),
                create,
            );
        };
    };
}
