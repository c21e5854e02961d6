//! The part of the shell language that the docs use: words, quotes, comments, pipes and redirections.

/// The commands of a line, each as its words. Redirections and assignments before a command are left out.
pub(crate) fn commands(line: &str) -> Vec<Vec<String>> {
    let mut commands = vec![Vec::new()];
    for token in tokens(line) {
        match token {
            Token::Operator => commands.push(Vec::new()),
            Token::Word(word) => commands.last_mut().unwrap().push(word),
        }
    }
    for words in &mut commands {
        let assignments = words.iter().take_while(|word| is_assignment(word)).count();
        words.drain(..assignments);
    }
    commands.retain(|words| !words.is_empty());
    commands
}

#[derive(Debug, PartialEq)]
enum Token {
    Word(String),
    /// The end of a command: `|`, `&&`, `;`.
    Operator,
}

fn tokens(line: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = line.trim_start();
    let mut is_redirection = false;
    while let Some(first) = rest.chars().next() {
        match first {
            '#' => break,
            '|' | '&' | ';' => {
                tokens.push(Token::Operator);
                rest = rest[1..].trim_start();
                continue;
            }
            '>' | '<' => {
                is_redirection = true;
                rest = rest.trim_start_matches(['>', '<', '&']).trim_start();
                continue;
            }
            _ => {}
        }
        let (word, after) = word(rest);
        let is_stream = after.starts_with(['>', '<']) && word.bytes().all(|byte| byte.is_ascii_digit());
        if !std::mem::take(&mut is_redirection) && !is_stream {
            tokens.push(Token::Word(word));
        }
        rest = after.trim_start();
    }
    tokens
}

/// The first word, without its quotes, and what follows it.
fn word(text: &str) -> (String, &str) {
    let mut word = String::new();
    let mut quote = None;
    let mut chars = text.char_indices();
    while let Some((at, char)) = chars.next() {
        match (quote, char) {
            (None, ' ' | '\t' | '|' | '&' | ';' | '>' | '<') => return (word, &text[at..]),
            (None, '\'' | '"') => quote = Some(char),
            (Some(open), close) if open == close => quote = None,
            (None | Some('"'), '\\') => word.extend(chars.next().map(|(_, escaped)| escaped)),
            _ => word.push(char),
        }
    }
    (word, "")
}

fn is_assignment(word: &str) -> bool {
    let name = word.split_once('=').map_or("", |(name, _)| name);
    !name.is_empty() && name.chars().all(|char| char.is_ascii_uppercase() || char == '_')
}

#[test]
fn words_quotes_comments_pipes_and_redirections() {
    let line = r#"A=1 one "two words" 'a"b' c\ d > out.txt 2>&1 | three K=v && four # five"#;
    let expected: [&[&str]; 3] = [&["one", "two words", "a\"b", "c d"], &["three", "K=v"], &["four"]];
    assert_eq!(commands(line), expected);
}
