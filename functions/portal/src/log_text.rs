//! Turns a line that a program printed into text that is safe to show: colours kept, everything else that a terminal
//! would act on removed, and what could deceive the eye made visible.

use std::fmt::Write as _;

use maud::{Markup, Render, html};

/// The longest part of one line that is shown, in bytes. The whole line is in the raw download.
pub const LINE_BYTES_MAX: usize = 16 * 1024;

/// One line, ready to be shown.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct LogText {
    pieces: Vec<Piece>,
    /// How many bytes of the line were left out at its end.
    pub cut_bytes: usize,
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Piece {
    Styled {
        style: Style,
        text: String,
    },
    /// A character that has no shape or changes its neighbours', by its code point.
    Invisible(char),
}

/// What of SGR is honoured: the sixteen named colours and four ways of emphasis.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Style {
    bold: bool,
    dim: bool,
    italic: bool,
    underline: bool,
    foreground: Option<u8>,
    background: Option<u8>,
}

impl LogText {
    /// Reads one line as printed, without its line end.
    #[must_use]
    pub fn parse(line: &str) -> Self {
        let line = line.strip_suffix('\r').unwrap_or(line);
        let shown = &line[..line.floor_char_boundary(LINE_BYTES_MAX)];
        let mut text = Self {
            pieces: Vec::new(),
            cut_bytes: line.len() - shown.len(),
        };
        let mut style = Style::default();
        let mut rest = shown;
        while let Some(character) = rest.chars().next() {
            rest = &rest[character.len_utf8()..];
            match character {
                '\u{1b}' => rest = escape(rest, &mut style),
                '\t' => text.push(style, character),
                // The pictures of U+2400 show a control character by its name.
                '\0'..='\u{1f}' => {
                    text.push(
                        style,
                        char::from_u32(0x2400 + u32::from(character)).unwrap_or('\u{fffd}'),
                    );
                }
                '\u{7f}' => text.push(style, '\u{2421}'),
                _ if deceives(character) => text.pieces.push(Piece::Invisible(character)),
                _ => text.push(style, character),
            }
        }
        text
    }

    /// The line for a terminal: its colours, if any are wanted, and nothing else that a terminal would act on. What has no
    /// shape is shown by its code point.
    #[must_use]
    pub fn terminal(&self, colours: bool) -> String {
        let mut text = String::new();
        let mut styled = false;
        for piece in &self.pieces {
            match piece {
                Piece::Styled { style, text: part } => {
                    if colours && (styled || *style != Style::default()) {
                        text.push_str(&style.sgr());
                        styled = *style != Style::default();
                    }
                    text.push_str(part);
                }
                Piece::Invisible(character) => {
                    // Writing to a string cannot fail.
                    let _ = write!(text, "<U+{:04X}>", u32::from(*character));
                }
            }
        }
        if styled {
            text.push_str("\u{1b}[0m");
        }
        if self.cut_bytes > 0 {
            let _ = write!(text, " … {} bytes more", self.cut_bytes);
        }
        text
    }

    fn push(&mut self, style: Style, character: char) {
        match self.pieces.last_mut() {
            Some(Piece::Styled { style: last, text }) if *last == style => text.push(character),
            _ => self.pieces.push(Piece::Styled {
                style,
                text: character.into(),
            }),
        }
    }
}

/// Consumes an escape sequence after its ESC and applies it if it is SGR; returns what follows it.
fn escape<'a>(rest: &'a str, style: &mut Style) -> &'a str {
    let mut characters = rest.char_indices();
    match characters.next() {
        Some((_, '[')) => {
            // Parameters and intermediates up to one final byte; anything else ends a broken sequence.
            for (at, character) in characters {
                match character {
                    '\u{20}'..='\u{3f}' => {}
                    'm' => {
                        style.apply(&rest[1..at]);
                        return &rest[at + 1..];
                    }
                    '\u{40}'..='\u{7e}' => return &rest[at + 1..],
                    _ => return &rest[at..],
                }
            }
            ""
        }
        // OSC (titles, links, the clipboard), DCS, SOS, PM and APC swallow all up to BEL or ST.
        Some((_, ']' | 'P' | 'X' | '^' | '_')) => {
            for (at, character) in characters {
                match character {
                    '\u{7}' => return &rest[at + 1..],
                    '\u{1b}' if rest[at + 1..].starts_with('\\') => return &rest[at + 2..],
                    _ => {}
                }
            }
            ""
        }
        // ESC with intermediates (a character set) and one final byte.
        Some((_, '\u{20}'..='\u{2f}')) => {
            let after = rest.trim_start_matches(|c| ('\u{20}'..='\u{2f}').contains(&c));
            let mut following = after.chars();
            following.next();
            following.as_str()
        }
        Some((_, character @ '\u{30}'..='\u{7e}')) => &rest[character.len_utf8()..],
        Some(_) | None => rest,
    }
}

/// Whether a character hides, or changes the order or shape of its neighbours.
fn deceives(character: char) -> bool {
    matches!(character,
        '\u{80}'..='\u{9f}'
        | '\u{ad}'
        | '\u{61c}'
        | '\u{180e}'
        | '\u{200b}'
        | '\u{200e}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{feff}'
        | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e007f}')
}

impl Style {
    fn apply(&mut self, parameters: &str) {
        /// More parameters than any program prints in one sequence.
        const PARAMETERS_MAX: usize = 32;
        let mut codes = parameters
            .split([';', ':'])
            .take(PARAMETERS_MAX)
            .map(|code| {
                if code.is_empty() {
                    Some(0)
                } else {
                    code.parse::<u16>().ok()
                }
            });
        while let Some(code) = codes.next() {
            match code {
                Some(0) => *self = Self::default(),
                Some(1) => self.bold = true,
                Some(2) => self.dim = true,
                Some(3) => self.italic = true,
                Some(4) => self.underline = true,
                Some(22) => (self.bold, self.dim) = (false, false),
                Some(23) => self.italic = false,
                Some(24) => self.underline = false,
                Some(code @ 30..=37) => self.foreground = Some((code - 30) as u8),
                Some(39) => self.foreground = None,
                Some(code @ 40..=47) => self.background = Some((code - 40) as u8),
                Some(49) => self.background = None,
                Some(code @ 90..=97) => self.foreground = Some((code - 82) as u8),
                Some(code @ 100..=107) => self.background = Some((code - 92) as u8),
                Some(code @ (38 | 48)) => {
                    let colour = extended(&mut codes);
                    if code == 38 {
                        self.foreground = colour;
                    } else {
                        self.background = colour;
                    }
                }
                Some(_) | None => {}
            }
        }
    }

    /// The sequence after which text looks so, whatever it looked like before.
    fn sgr(self) -> String {
        let mut codes = String::from("0");
        for (set, code) in [
            (self.bold, 1),
            (self.dim, 2),
            (self.italic, 3),
            (self.underline, 4),
        ] {
            if set {
                let _ = write!(codes, ";{code}");
            }
        }
        for (colour, first, bright) in [(self.foreground, 30, 82), (self.background, 40, 92)] {
            if let Some(colour) = colour {
                let from = if colour < 8 { first } else { bright };
                let _ = write!(codes, ";{}", from + u16::from(colour));
            }
        }
        format!("\u{1b}[{codes}m")
    }

    fn class(self) -> String {
        let mut class = String::new();
        let mut add = |name: &str| {
            if !class.is_empty() {
                class.push(' ');
            }
            class.push_str(name);
        };
        for (set, name) in [
            (self.bold, "sgr-bold"),
            (self.dim, "sgr-dim"),
            (self.italic, "sgr-italic"),
            (self.underline, "sgr-underline"),
        ] {
            if set {
                add(name);
            }
        }
        if let Some(colour) = self.foreground {
            add(&format!("sgr-fg{colour}"));
        }
        if let Some(colour) = self.background {
            add(&format!("sgr-bg{colour}"));
        }
        class
    }
}

/// The colour of `38;5;n` if it is one of the sixteen. Others are dropped: they were chosen for somebody else's background.
fn extended(codes: &mut impl Iterator<Item = Option<u16>>) -> Option<u8> {
    match codes.next().flatten() {
        Some(5) => codes
            .next()
            .flatten()
            .filter(|colour| *colour < 16)
            .map(|colour| colour as u8),
        Some(2) => {
            codes.by_ref().take(3).for_each(drop);
            None
        }
        Some(_) | None => None,
    }
}

impl Render for LogText {
    fn render(&self) -> Markup {
        html! {
            @for piece in &self.pieces {
                @match piece {
                    Piece::Styled { style, text } if *style == Style::default() => (text),
                    Piece::Styled { style, text } => span class=(style.class()) { (text) },
                    Piece::Invisible(character) => span class="invisible" {
                        (format!("U+{:04X}", u32::from(*character)))
                    },
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use maud::Render;

    use super::{LINE_BYTES_MAX, LogText};

    fn html(line: &str) -> String {
        LogText::parse(line).render().into_string()
    }

    #[test]
    fn colours_become_classes() {
        assert_eq!(
            html("\u{1b}[1;32mok\u{1b}[0m plain \u{1b}[91mred\u{1b}[39m"),
            "<span class=\"sgr-bold sgr-fg2\">ok</span> plain <span class=\"sgr-fg9\">red</span>"
        );
        assert_eq!(
            html("\u{1b}[38;5;4mx\u{1b}[38;2;1;2;3my"),
            "<span class=\"sgr-fg4\">x</span>y"
        );
    }

    #[test]
    fn what_a_terminal_would_act_on_is_removed() {
        assert_eq!(html("a\u{1b}]0;title\u{7}b\u{1b}[2J\u{1b}[10;5Hc"), "abc");
        assert_eq!(
            html("\u{1b}]8;;https://example.org\u{1b}\\link\u{1b}]8;;\u{1b}\\"),
            "link"
        );
        assert_eq!(html("\u{1b}]52;c;c2VjcmV0\u{7}x\u{1b}(By\u{1b}7z"), "xyz");
        assert_eq!(html("tail\u{1b}["), "tail");
        assert_eq!(html("tail\u{1b}"), "tail");
        assert_eq!(html("\u{1b}]never ends"), "");
        assert_eq!(html("\u{1b}ñ"), "ñ");
        assert_eq!(html("\u{1b}[3ñm"), "ñm");
    }

    #[test]
    fn a_terminal_gets_colours_and_nothing_else_to_act_on() {
        let hostile = "\u{1b}]0;title\u{7}\u{1b}[1;91mred\u{1b}[0m\u{1b}[2J\u{1b}]52;c;eA==\u{7} a\u{202e}b\u{1b}[44mblue";
        let text = LogText::parse(hostile);
        assert_eq!(
            text.terminal(true),
            "\u{1b}[0;1;91mred\u{1b}[0m a<U+202E>b\u{1b}[0;44mblue\u{1b}[0m"
        );
        assert_eq!(text.terminal(false), "red a<U+202E>bblue");
        let cut = LogText::parse(&"x".repeat(LINE_BYTES_MAX + 3)).terminal(true);
        assert!(cut.ends_with("x … 3 bytes more"));
    }

    #[test]
    fn markup_is_text() {
        assert_eq!(html("</script><script>x"), "&lt;/script&gt;&lt;script&gt;x");
    }

    #[test]
    fn what_hides_is_shown() {
        assert_eq!(
            html("a\u{202e}b"),
            "a<span class=\"invisible\">U+202E</span>b"
        );
        assert_eq!(html("a\0b\rc\u{7f}"), "a␀b␍c␡");
        assert_eq!(html("windows\r"), "windows");
        assert_eq!(
            html("\u{9b}31m"),
            "<span class=\"invisible\">U+009B</span>31m"
        );
    }

    #[test]
    fn a_long_line_is_cut_between_characters() {
        let text = LogText::parse(&"я".repeat(LINE_BYTES_MAX));
        assert_eq!(text.cut_bytes, LINE_BYTES_MAX);
        assert_eq!(
            text.render().into_string().chars().count(),
            LINE_BYTES_MAX / 2
        );
        assert_eq!(LogText::parse("short").cut_bytes, 0);
    }
}
