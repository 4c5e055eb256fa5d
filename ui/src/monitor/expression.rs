//! Expressions in monitor commands: numbers, `$registers` and C's operators.
//!
//! As in QEMU's monitor `+` and `-` bind loosest, then `& | ^`, then `* / %`.

/// Nesting deeper than this is refused.
const DEEPEST: u32 = 64;

/// Looks registers up by name.
pub type Registers<'a> = dyn Fn(&str) -> Option<u64> + 'a;

struct Parser<'a, 'r> {
    rest: &'a str,
    registers: &'r Registers<'r>,
    depth: u32,
}

/// Works an expression out that may have more text behind it; returns that text, too.
pub fn prefix<'a>(text: &'a str, registers: &Registers) -> Result<(u64, &'a str), String> {
    let mut p = Parser { rest: text.trim_start(), registers, depth: 0 };
    let value = p.sum()?;
    Ok((value, p.rest))
}

/// Works an expression out.
pub fn evaluate(text: &str, registers: &Registers) -> Result<u64, String> {
    match prefix(text, registers)? {
        (value, "") => Ok(value),
        (_, rest) => Err(format!("unexpected '{rest}'")),
    }
}

impl Parser<'_, '_> {
    fn take(&mut self, of: &[char]) -> Option<char> {
        let c = self.rest.chars().next().filter(|c| of.contains(c))?;
        self.rest = self.rest[c.len_utf8()..].trim_start();
        Some(c)
    }

    fn sum(&mut self) -> Result<u64, String> {
        let mut a = self.logic()?;
        while let Some(op) = self.take(&['+', '-']) {
            let b = self.logic()?;
            a = if op == '+' { a.wrapping_add(b) } else { a.wrapping_sub(b) };
        }
        Ok(a)
    }

    fn logic(&mut self) -> Result<u64, String> {
        let mut a = self.product()?;
        while let Some(op) = self.take(&['&', '|', '^']) {
            let b = self.product()?;
            a = match op {
                '&' => a & b,
                '|' => a | b,
                _ => a ^ b,
            };
        }
        Ok(a)
    }

    fn product(&mut self) -> Result<u64, String> {
        let mut a = self.unary()?;
        while let Some(op) = self.take(&['*', '/', '%']) {
            let b = self.unary()?;
            let (x, y) = (a as i64, b as i64);
            a = match (op, b) {
                ('*', _) => a.wrapping_mul(b),
                (_, 0) => return Err("division by zero".into()),
                ('/', _) => x.wrapping_div(y) as u64,
                _ => x.wrapping_rem(y) as u64,
            };
        }
        Ok(a)
    }

    fn unary(&mut self) -> Result<u64, String> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err("expression too deep".into());
        }
        let value = match self.take(&['+', '-', '~', '(', '\'', '$']) {
            Some('+') => self.unary(),
            Some('-') => self.unary().map(u64::wrapping_neg),
            Some('~') => self.unary().map(|n| !n),
            Some('(') => {
                let value = self.sum()?;
                self.take(&[')']).map(|_| value).ok_or_else(|| "expected ')'".to_string())
            }
            Some('\'') => self.character(),
            Some(_) => {
                let name = self.word();
                (self.registers)(&name).ok_or_else(|| format!("unknown register ${name}"))
            }
            None => self.number(),
        };
        self.depth -= 1;
        value
    }

    fn word(&mut self) -> String {
        let end = self.rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '.');
        let (word, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest.trim_start();
        word.to_ascii_lowercase()
    }

    fn number(&mut self) -> Result<u64, String> {
        let word = self.word();
        match crate::options::whole(&word) {
            Some(n) => Ok(n),
            None if word.is_empty() => Err(match self.rest {
                "" => "expected an expression".into(),
                rest => format!("unexpected '{rest}'"),
            }),
            None => Err(format!("'{word}' is not a number")),
        }
    }

    fn character(&mut self) -> Result<u64, String> {
        let bytes = self.rest.as_bytes();
        match bytes {
            [c, b'\'', ..] if c.is_ascii() => {
                let value = u64::from(*c);
                self.rest = self.rest[2..].trim_start();
                Ok(value)
            }
            _ => Err("expected a character and \"'\"".into()),
        }
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn expressions_are_worked_out() {
        let registers = |name: &str| (name == "rip").then_some(0x1000);
        for (text, want) in [
            ("0x10", Ok(16)),
            ("1+2*3", Ok(7)),
            ("(1+2)*3", Ok(9)),
            ("$rip+4", Ok(0x1004)),
            ("-1", Ok(u64::MAX)),
            ("~0 & 0xff", Ok(255)),
            ("1 + 6 & 3", Ok(3)),
            ("'A'", Ok(65)),
            ("7/2", Ok(3)),
            ("1/0", Err("division by zero")),
            ("$foo", Err("unknown register $foo")),
            ("1 2", Err("unexpected '2'")),
            ("", Err("expected an expression")),
            ("0xzz", Err("'0xzz' is not a number")),
            ("(1", Err("expected ')'")),
            ("'é'", Err("expected a character and \"'\"")),
            ("-9223372036854775808/-1", Ok(1 << 63)),
        ] {
            let want = want.map_err(str::to_string);
            assert_eq!(evaluate(text, &registers), want, "{text}");
        }
        let deep = "(".repeat(10_000);
        assert_eq!(evaluate(&deep, &registers), Err("expression too deep".into()));
    }
}
