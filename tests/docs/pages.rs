//! The pages, and the fenced blocks on them.

use std::fs;
use std::path::{Path, PathBuf};

/// A fenced block.
pub(crate) struct Block {
    pub(crate) page: PathBuf,
    /// The line of the page on which its text begins, from 1.
    pub(crate) line: usize,
    /// The word after the opening fence.
    pub(crate) language: String,
    pub(crate) text: String,
}

impl Block {
    /// Page and line, for messages.
    pub(crate) fn place(&self) -> String {
        format!("{}:{}", self.page.display(), self.line)
    }
}

/// The root directory of the project.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every page, the README first.
pub(crate) fn pages() -> Vec<PathBuf> {
    let mut pages = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"].map(|name| root().join(name)).to_vec();
    add_pages_below(&root().join("docs"), &mut pages);
    pages
}

fn add_pages_below(directory: &Path, pages: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            add_pages_below(&path, pages);
        } else if path.extension().is_some_and(|end| end == "md") {
            pages.push(path);
        }
    }
}

/// The blocks of a page in one of these languages, in its order.
pub(crate) fn blocks(page: &Path, languages: &[&str]) -> Vec<Block> {
    let text = fs::read_to_string(page).unwrap();
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for (number, line) in text.lines().enumerate() {
        match (&mut open, line.trim_end().strip_prefix("```")) {
            (None, Some(language)) => {
                let language = language.to_owned();
                open = Some(Block { page: page.to_owned(), line: number + 2, language, text: String::new() });
            }
            (Some(_), Some("")) => blocks.extend(open.take()),
            (Some(block), _) => block.text.extend([line, "\n"]),
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "{}: a block has no end", page.display());
    blocks.retain(|block| languages.contains(&block.language.as_str()));
    blocks
}

/// The blocks of all pages in one of these languages.
pub(crate) fn all_blocks(languages: &[&str]) -> Vec<Block> {
    pages().iter().flat_map(|page| blocks(page, languages)).collect()
}
