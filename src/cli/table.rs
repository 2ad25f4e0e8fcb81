//! Aligned columns, as `docker` prints them: no borders, three spaces between.

use comfy_table::{ContentArrangement, Table, presets};

/// Spaces between columns.
const GAP: u16 = 3;

/// Renders rows under their headings; no trailing spaces, no last line end.
#[must_use]
pub(super) fn columns<const N: usize>(
    heads: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let rows = rows.into_iter().map(Vec::from);
    table(heads.iter().map(|it| (*it).to_owned()).collect(), rows)
}

/// Renders rows whose columns are known only now.
#[must_use]
pub(super) fn table(heads: Vec<String>, rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(heads);
    for row in rows {
        // A line break in a cell would tear the table.
        table.add_row(row.iter().map(|cell| cell.replace(['\n', '\r', '\t'], " ")));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, GAP));
    }
    let text = table.to_string();
    text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_below_their_headings_whatever_is_in_them() {
        let rows = [["web".into(), "2\n3".into()], ["größer-名".into(), String::new()]];
        let text = columns(["NAME", "N"], rows);
        assert_eq!(text, "NAME        N\nweb         2 3\ngrößer-名");
        assert_eq!(columns(["NAME", "N"], []), "NAME   N");
    }
}
