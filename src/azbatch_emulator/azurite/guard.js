// Loaded before Azurite: ends it when our end of its standard input closes, so that it never outlives us,
// even if we are killed.
process.stdin
  .on("end", () => {
    process.kill(process.pid, "SIGTERM");
    setTimeout(() => process.exit(1), 3000).unref();
  })
  .resume();
