//! Pages for people, in place of an answer for programs. They load nothing from anywhere.

/// What such a page says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<'a> {
    /// Three digits.
    pub status: u16,
    pub title: &'a str,
    /// What it is about, such as "port 3000"; may be empty.
    pub subject: &'a str,
    /// What happened, and what to do.
    pub advice: &'a str,
    /// Seconds after which it loads itself again; `None`: it stays.
    pub again: Option<u8>,
}

const STYLE: &str = ":root{color-scheme:light dark;--paper:#f6f7f9;--card:#fff;--ink:#1c2330;\
--soft:#5d6778;--line:#e3e6ec;--mark:#3457d5}\
@media(prefers-color-scheme:dark){:root{--paper:#12151b;--card:#1b2029;--ink:#e8ebf1;\
--soft:#9aa5b8;--line:#2b323f;--mark:#8aa4ff}}\
*{box-sizing:border-box}body{margin:0;min-height:100vh;display:grid;place-items:center;\
background:var(--paper);color:var(--ink);font:16px/1.55 system-ui,sans-serif;padding:1.5rem}\
main{width:100%;max-width:34rem;background:var(--card);border:1px solid var(--line);\
border-radius:14px;padding:2.25rem 2.25rem 1.75rem;box-shadow:0 10px 30px rgba(0,0,0,.06)}\
h1{font-size:1.45rem;line-height:1.25;margin:.35rem 0 .75rem}p{margin:.5rem 0;color:var(--soft)}\
.status{font:600 .8rem ui-monospace,monospace;letter-spacing:.08em;color:var(--mark)}\
code{font:.9em ui-monospace,monospace;color:var(--ink);overflow-wrap:anywhere}\
footer{margin-top:1.75rem;padding-top:1rem;border-top:1px solid var(--line);\
font-size:.8rem;color:var(--soft)}";

impl Page<'_> {
    /// The page as HTML; all text in it is escaped.
    #[must_use]
    pub fn html(&self) -> String {
        let refresh = self.again.map_or(String::new(), |seconds| {
            format!("<meta http-equiv=\"refresh\" content=\"{seconds}\">")
        });
        let subject = match self.subject {
            "" => String::new(),
            text => format!("<p><code>{}</code></p>", escape(text)),
        };
        let foot = match self.again {
            Some(_) => "This page tries again by itself.",
            None => "Wardian",
        };
        format!(
            "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">{refresh}\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
             <meta name=\"robots\" content=\"noindex\">\
             <title>{title}</title><style>{STYLE}</style></head><body><main>\
             <div class=\"status\">{status}</div><h1>{title}</h1>{subject}<p>{advice}</p>\
             <footer>{foot}</footer></main></body></html>\n",
            title = escape(self.title),
            status = self.status,
            advice = escape(self.advice),
        )
    }
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_text_becomes_markup(subject in "\\PC{0,40}", advice in "\\PC{0,40}") {
            let page = Page { status: 404, title: "T", subject: &subject, advice: &advice, again: None };
            let html = page.html();
            let (_, body) = html.split_once("<h1>T</h1>").unwrap();
            let empty = Page { subject: "", advice: "", ..page.clone() }.html();
            let (_, bare) = empty.split_once("<h1>T</h1>").unwrap();
            let extra = if subject.is_empty() { 0 } else { 4 };
            prop_assert_eq!(body.matches('<').count(), bare.matches('<').count() + extra);
        }
    }

    #[test]
    fn it_needs_nothing_from_elsewhere() {
        let html = Page {
            status: 503,
            title: "T",
            subject: "port 1",
            advice: "A",
            again: Some(2),
        }
        .html();
        assert!(html.contains("http-equiv=\"refresh\" content=\"2\""));
        for outside in ["http:", "https:", "src=", "href=", "url(", "@import"] {
            assert!(!html.contains(outside), "{outside}");
        }
    }
}
