//! Plain tables: left-aligned columns, two blanks between, nothing drawn.

/// Lays out rows under a heading.
pub(crate) fn table(heading: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = heading.iter().map(|cell| cell.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: &[String]| {
        let padded = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_string()
    };
    let heading: Vec<String> = heading.iter().map(|cell| (*cell).to_string()).collect();
    std::iter::once(line(&heading)).chain(rows.iter().map(|row| line(row))).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [vec!["seattle".to_string(), "1".to_string()], vec!["a".to_string(), "22".to_string()]];
        assert_eq!(super::table(&["HOST", "N"], &rows), "HOST     N\nseattle  1\na        22");
    }
}
