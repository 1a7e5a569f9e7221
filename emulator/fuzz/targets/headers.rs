#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    cosmos_emulator::fuzz::headers(data);
});
