// Command hearth is the group-chat back end: `hearth dev` to try it, `hearth serve` to run it, and the tools an
// operator needs beside it. `hearth --help` lists them.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/term"
)

func main() { os.Exit(realMain()) }

// realMain exists so that its defers run before the exit.
func realMain() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// After the first signal the next one kills, unless the command listens for it itself.
	context.AfterFunc(ctx, stop)
	return run(ctx, os.Args[1:], &Process{
		Environ: os.Environ(), Stdout: os.Stdout, Stderr: os.Stderr, Terminal: isTerminal(os.Stdout), Size: sizeOf(os.Stdout),
	})
}

func sizeOf(f *os.File) func() (width, height int) {
	return func() (width, height int) {
		width, height, err := term.GetSize(int(f.Fd()))
		if err != nil {
			return 0, 0
		}
		return width, height
	}
}

// isTerminal takes every character device for one; /dev/null looks the same and does not mind.
func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
