//! The program that the tests call again, and the poisonous ones that they run.

use std::ffi::OsString;
use std::io::{Read as _, Write as _};
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let name = arguments.first().and_then(|name| name.to_str());
    match name {
        Some(exec::SHIM_COMMAND) => {
            let Err(error) = exec::become_program(&arguments[1..]);
            writeln!(std::io::stderr(), "{error}").ok();
            ExitCode::from(exec::EXIT_NOT_STARTED)
        }
        Some("fenced") => {
            let folder = std::env::temp_dir();
            ExitCode::from(u8::from(!exec::is_fenced(&folder)))
        }
        Some("one-line") => {
            let size = arguments[1]
                .to_str()
                .and_then(|size| size.parse::<u64>().ok());
            let mut line = std::io::repeat(b'a').take(size.unwrap_or_default());
            let mut out = std::io::stdout();
            std::io::copy(&mut line, &mut out).ok();
            out.write_all(b"\nthe next\n").ok();
            ExitCode::SUCCESS
        }
        _ => ExitCode::FAILURE,
    }
}
