//! `first,key=value,key,...`: how the value of an option is taken apart. A comma in a value is written twice.

use super::Fault;
use super::number;

/// The parts of one option's value. Each is taken by name; [`Words::none_left`] refuses what nobody knew.
#[derive(Clone, Debug)]
pub struct Words {
    option: String,
    list: Vec<(String, Option<String>)>,
    known: Vec<&'static str>,
}

/// Splits at single commas; `,,` is a comma.
pub fn split(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let doubled = c == ',' && chars.next_if_eq(&',').is_some();
        match parts.last_mut() {
            Some(last) if c != ',' || doubled => last.push(c),
            _ => parts.push(String::new()),
        }
    }
    parts
}

impl Words {
    /// Takes `text` apart. A first part without `=` is the value of `implied`.
    pub fn new(option: &str, text: &str, implied: Option<&'static str>) -> Result<Words, Fault> {
        let mut list = Vec::new();
        for (n, part) in split(text).into_iter().enumerate() {
            match (part.split_once('='), implied) {
                (None, Some(key)) if n == 0 => list.push((key.to_string(), Some(part))),
                (Some((key, value)), _) if !key.is_empty() => {
                    list.push((key.to_string(), Some(value.to_string())));
                }
                (None, _) if !part.is_empty() => list.push((part, None)),
                _ => {
                    let text = format!("'{text}' is not a list of key=value");
                    return Err(Fault::new(option, text));
                }
            }
        }
        Ok(Words { option: option.to_string(), list, known: Vec::new() })
    }

    pub fn fault(&self, text: impl Into<String>) -> Fault {
        Fault::new(&self.option, text)
    }

    /// Whether `help` is among the words.
    pub fn asks_help(&self) -> bool {
        self.list.iter().any(|(k, v)| matches!(k.as_str(), "help" | "?") && v.is_none())
    }

    /// Whether the first word is `driver=name`.
    pub fn names(&self, name: &str) -> bool {
        self.list.first().is_some_and(|(_, v)| v.as_deref() == Some(name))
    }

    /// Puts a word in front, where any said later wins.
    pub fn before(&mut self, key: &str, value: &str) {
        self.list.insert(0, (key.to_string(), Some(value.to_string())));
    }

    /// What the last `key` was set to; the inner `None` is a bare `key`.
    fn take(&mut self, key: &'static str) -> Option<Option<String>> {
        self.known.push(key);
        let last = self.list.iter().rposition(|(k, _)| k == key)?;
        let value = self.list[last].1.clone();
        self.list.retain(|(k, _)| k != key);
        Some(value)
    }

    pub fn text(&mut self, key: &'static str) -> Result<Option<String>, Fault> {
        match self.take(key) {
            Some(None) => Err(self.fault(format!("{key} needs a value: {key}=..."))),
            Some(value) => Ok(value),
            None => Ok(None),
        }
    }

    /// All that `key` was set to, in order.
    pub fn texts(&mut self, key: &'static str) -> Result<Vec<String>, Fault> {
        self.known.push(key);
        let said = self.list.extract_if(.., |(k, _)| k == key).map(|(_, v)| v);
        let all: Option<Vec<String>> = said.collect();
        all.ok_or_else(|| self.fault(format!("{key} needs a value: {key}=...")))
    }

    /// As [`Words::text`], but an empty or absent value is refused.
    pub fn needed(&mut self, key: &'static str) -> Result<String, Fault> {
        match self.text(key)? {
            Some(value) if !value.is_empty() => Ok(value),
            _ => Err(self.fault(format!("{key}= is missing"))),
        }
    }

    /// `key`, `key=on`, `key=off`, and `nokey`.
    pub fn on_off(&mut self, key: &'static str) -> Result<Option<bool>, Fault> {
        let negated = format!("no{key}");
        if let Some(at) = self.list.iter().position(|(k, v)| *k == negated && v.is_none()) {
            self.list.remove(at);
            self.known.push(key);
            return Ok(Some(false));
        }
        match self.take(key) {
            None => Ok(None),
            Some(None) => Ok(Some(true)),
            Some(Some(value)) => match number::on_off(&value) {
                Some(on) => Ok(Some(on)),
                None => Err(self.fault(format!("{key}={value}: expected on or off"))),
            },
        }
    }

    /// The same, or `auto`, which says nothing.
    pub fn on_off_auto(&mut self, key: &'static str) -> Result<Option<bool>, Fault> {
        let auto = |(k, v): &(String, Option<String>)| k == key && v.as_deref() == Some("auto");
        self.list.retain(|word| !auto(word));
        self.on_off(key)
    }

    /// A whole number within `range`.
    pub fn number(
        &mut self,
        key: &'static str,
        range: std::ops::RangeInclusive<u64>,
    ) -> Result<Option<u64>, Fault> {
        let Some(text) = self.text(key)? else { return Ok(None) };
        match number::whole(&text) {
            Some(n) if range.contains(&n) => Ok(Some(n)),
            _ => {
                let (low, high) = (range.start(), range.end());
                let range = match *high {
                    u64::MAX => "of at most 64 bits".to_string(),
                    0..1000 => format!("from {low} to {high}"),
                    _ => format!("from {low:#x} to {high:#x}"),
                };
                let text = format!("{key}={text}: expected a number {range}");
                Err(self.fault(text))
            }
        }
    }

    pub fn size(&mut self, key: &'static str, unit: u64) -> Result<Option<u64>, Fault> {
        let Some(text) = self.text(key)? else { return Ok(None) };
        match number::size(&text, unit) {
            Some(n) => Ok(Some(n)),
            None => Err(self.fault(not_a_size(&text))),
        }
    }

    /// One of a few names.
    pub fn choice<T: Copy>(
        &mut self,
        key: &'static str,
        of: &[(&str, T)],
    ) -> Result<Option<T>, Fault> {
        let Some(text) = self.text(key)? else { return Ok(None) };
        match of.iter().find(|o| o.0 == text) {
            Some(o) => Ok(Some(o.1)),
            None => {
                let names: Vec<_> = of.iter().map(|o| o.0).collect();
                let text = format!("{key}={text}: expected one of {}", names.join(", "));
                Err(self.fault(text))
            }
        }
    }

    /// Refuses a word that exists elsewhere but not here.
    pub fn not_yet(&mut self, keys: &[&'static str], why: &str) -> Result<(), Fault> {
        match self.list.iter().find(|(k, _)| keys.contains(&k.as_str())) {
            Some((k, _)) => Err(self.fault(format!("{k}: {why}"))),
            None => Ok(()),
        }
    }

    /// What was not taken, for who knows more words.
    pub fn take_rest(&mut self) -> Vec<(String, Option<String>)> {
        std::mem::take(&mut self.list)
    }

    /// Refuses whatever was not taken.
    pub fn none_left(self) -> Result<(), Fault> {
        let Some((key, _)) = self.list.first() else { return Ok(()) };
        let known = match self.known.len() {
            0 => "nothing is expected here".to_string(),
            _ => format!("expected one of {}", self.known.join(", ")),
        };
        Err(self.fault(format!("'{key}' is not known: {known}")))
    }
}

pub fn not_a_size(text: &str) -> String {
    format!("'{text}' is not a size: expected a number, perhaps with a suffix K, M, G or T")
}
