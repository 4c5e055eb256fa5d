//! Files of pictures, for `screendump`: PPM (netpbm's ppm(5), the raw form P6) and PNG.

use std::io::{self, Write};

/// The kinds of files, as HMP's `screendump -f` and QMP's `format` name them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    #[default]
    Ppm,
    Png,
}

impl std::str::FromStr for Format {
    type Err = String;
    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "ppm" => Ok(Self::Ppm),
            "png" => Ok(Self::Png),
            _ => Err(format!("Parameter 'format' does not accept value '{name}'")),
        }
    }
}

/// Writes a picture of rows from the top, three bytes (red, green, blue) a pixel.
pub fn write(
    format: Format,
    width: u32,
    height: u32,
    rgb: &[u8],
    to: &mut dyn Write,
) -> io::Result<()> {
    let bytes = u128::from(width) * u128::from(height) * 3;
    if rgb.len() as u128 != bytes {
        let what = format!("{} bytes for a picture of {width} by {height}", rgb.len());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
    }
    match format {
        Format::Ppm => {
            write!(to, "P6\n{width} {height}\n255\n")?;
            to.write_all(rgb)?;
        }
        Format::Png => {
            let mut encoder = png::Encoder::new(&mut *to, width, height);
            encoder.set_color(png::ColorType::Rgb);
            encoder.set_depth(png::BitDepth::Eight);
            let mut writer = encoder.write_header()?;
            writer.write_image_data(rgb)?;
            writer.finish()?;
        }
    }
    to.flush()
}

#[cfg(test)]
mod test {
    use super::*;

    const RGB: [u8; 18] = [255, 0, 0, 0, 255, 0, 0, 0, 255, 1, 2, 3, 4, 5, 6, 7, 8, 9];

    #[test]
    fn a_ppm_is_a_header_and_the_bytes() {
        let mut file = Vec::new();
        write(Format::Ppm, 3, 2, &RGB, &mut file).expect("memory takes it");
        assert_eq!(file, [b"P6\n3 2\n255\n", &RGB[..]].concat());
    }

    #[test]
    fn a_png_holds_the_same_pixels() {
        let mut file = Vec::new();
        write(Format::Png, 3, 2, &RGB, &mut file).expect("memory takes it");
        let mut reader = png::Decoder::new(io::Cursor::new(file)).read_info().expect("a PNG");
        let mut pixels = vec![0; 18];
        let info = reader.next_frame(&mut pixels).expect("a picture");
        assert_eq!((info.width, info.height, info.color_type), (3, 2, png::ColorType::Rgb));
        assert_eq!(pixels, RGB);
    }

    #[test]
    fn what_is_no_picture_is_an_error() {
        for format in [Format::Ppm, Format::Png] {
            assert!(write(format, 3, 3, &RGB, &mut Vec::new()).is_err());
            assert!(write(format, u32::MAX, u32::MAX, &RGB, &mut Vec::new()).is_err());
        }
        assert!(write(Format::Png, 0, 0, &[], &mut Vec::new()).is_err());
    }

    #[test]
    fn formats_have_names() {
        assert_eq!("png".parse(), Ok(Format::Png));
        assert_eq!("ppm".parse(), Ok(Format::Ppm));
        assert!("jpeg".parse::<Format>().is_err());
    }
}
