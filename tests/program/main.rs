//! The program as it is shipped, built together with the tests that run it: what they start is what they were compiled with.
//! With one command more, for tests that need a function which is not shipped.

mod inline;

use std::process::ExitCode;

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some(inline::COMMAND) {
        return inline::main();
    }
    bundle::cli::main()
}
