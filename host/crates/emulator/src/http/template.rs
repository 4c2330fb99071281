//! HTML by hand: one frame, and text that stays text.

/// Text inside of HTML, between tags or in quotes.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            letter => escaped.push(letter),
        }
    }
    escaped
}

/// A page. Its parts are HTML already, its title is text.
pub(super) fn page(title: &str, main: &str) -> String {
    let title = escape(title);
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>{title} – emulated shops</title><style>{STYLE}</style></head><body>\
         <header><a href=\"/\">Emulated shops</a><nav><a href=\"/webhooks\">Webhooks</a></nav></header>\
         <main><h1>{title}</h1>{main}</main></body></html>\n"
    )
}

/// A table. Cells are HTML already.
pub(super) fn table(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let head: String = head.iter().map(|cell| ["<th scope=\"col\">", cell, "</th>"].concat()).collect();
    let row = |cells: Vec<String>| {
        let cells: String = cells.iter().map(|cell| ["<td>", cell.as_str(), "</td>"].concat()).collect();
        ["<tr>", cells.as_str(), "</tr>"].concat()
    };
    let rows: String = rows.into_iter().map(row).collect();
    if rows.is_empty() {
        return "<p class=\"none\">None yet.</p>".to_owned();
    }
    format!("<div class=\"wide\"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>")
}

const STYLE: &str = "\
    :root{color-scheme:light dark;--line:light-dark(#ddd,#444);--soft:light-dark(#666,#aaa);--link:light-dark(#0a5,#5d9)}\
    body{font:16px/1.5 system-ui,sans-serif;margin:0}\
    header{display:flex;gap:2rem;padding:.75rem 1.5rem;border-bottom:1px solid var(--line)}\
    header>a{font-weight:600}a{color:var(--link);text-decoration:none}a:hover{text-decoration:underline}\
    main{max-width:70rem;margin:0 auto;padding:1rem 1.5rem 4rem}h1{font-size:1.5rem}h2{font-size:1.1rem;margin-top:2rem}\
    .wide{overflow-x:auto}table{border-collapse:collapse;width:100%}\
    th,td{text-align:left;padding:.4rem .6rem;border-bottom:1px solid var(--line);vertical-align:top}\
    th{font-weight:500;color:var(--soft)}code,pre{font:13px/1.4 ui-monospace,monospace}\
    pre{white-space:pre-wrap;overflow-wrap:anywhere;max-height:20rem;overflow:auto}\
    label{display:block;margin:.8rem 0 .2rem}input,textarea,select{font:inherit;width:100%;box-sizing:border-box;padding:.4rem}\
    textarea{min-height:8rem}button{font:inherit;padding:.4rem 1rem;margin-top:1rem}\
    .row{display:flex;gap:1rem;flex-wrap:wrap}.row>div{flex:1 1 14rem}\
    .none,.soft{color:var(--soft)}.good{color:light-dark(#080,#5d5)}.bad{color:light-dark(#b00,#f77)}";

#[cfg(test)]
mod tests {
    use super::{escape, page, table};

    #[test]
    fn text_stays_text() {
        assert_eq!(escape("<a href=\"x\">'&'"), "&lt;a href=&quot;x&quot;&gt;&#39;&amp;&#39;");
        assert!(page("<b>", "").contains("<h1>&lt;b&gt;</h1>"));
        assert!(table(&["A"], []).contains("None yet"));
    }
}
