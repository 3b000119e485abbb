//! The pages in a house of one's own: another language, another look.

use std::fs;

use crate::stage::Stage;

#[tokio::test]
async fn a_directory_adds_a_language_and_a_look_to_the_pages() {
    let directory = tempfile::tempdir().expect("there is room for files");
    let put = |name: &str, text: &str| {
        fs::write(directory.path().join(name), text).expect("the directory is writable");
    };
    put(
        "messages.fr.json",
        r#"{"name": "Français", "sign-in.title": "Se connecter <ici>"}"#,
    );
    put("theme.css", ":root { --accent: #7a1f2b; }");
    let path = directory.path().display();
    let stage = Stage::with(&format!(
        "[plugins.auth.config]\npages_directory = \"{path}\""
    ))
    .await;
    let page = async |languages: &str| {
        let request = stage
            .host
            .get("/auth/sign-in")
            .header("accept-language", languages);
        request.send().await.expect_status(200)
    };
    let french = page("fr-CA, en;q=0.5").await;
    assert_eq!(french.headers["content-language"], "fr");
    let text = french.text();
    assert!(text.contains("Se connecter &lt;ici&gt;"), "{text}");
    assert!(text.contains("/auth/assets/theme.css"), "{text}");
    // What it does not say is said in English; the other languages are a link away.
    assert!(
        text.contains("?lang=de") && text.contains("?lang=en"),
        "{text}"
    );
    let german = page("de").await;
    assert_eq!(german.headers["content-language"], "de");
    assert_eq!(page("it").await.headers["content-language"], "en");
    let theme = stage.host.get("/auth/assets/theme.css").send().await;
    let theme = theme.expect_status(200);
    assert_eq!(theme.text(), ":root { --accent: #7a1f2b; }");
    assert_eq!(theme.headers["content-type"], "text/css; charset=utf-8");
    stage.host.stop().await;

    let plain = Stage::set().await;
    let theme = plain.host.get("/auth/assets/theme.css").send().await;
    assert_eq!(theme.status, 404);
    plain.host.stop().await;
}
