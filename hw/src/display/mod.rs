//! Displays: what a guest draws on, and the picture that a monitor would show of it.

pub mod edid;
pub mod vga;

pub use vga::{Legacy, Vga, VgaConfig};

/// What a monitor shows: rows from the top, three bytes (red, green, blue) a pixel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Picture {
    pub width: u32,
    pub height: u32,
    pub rgb: Vec<u8>,
}

impl Picture {
    /// A black picture.
    pub fn black(width: u32, height: u32) -> Self {
        Self { width, height, rgb: vec![0; width as usize * height as usize * 3] }
    }
    /// The colour of a pixel; black outside.
    pub fn pixel(&self, x: u32, y: u32) -> [u8; 3] {
        let at = (y as usize * self.width as usize + x as usize) * 3;
        let inside = (x < self.width).then(|| self.rgb.get(at..at + 3)).flatten();
        inside.map_or([0; 3], |p| [p[0], p[1], p[2]])
    }
}
