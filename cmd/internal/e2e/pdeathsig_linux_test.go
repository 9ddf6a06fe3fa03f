package e2e

import (
	"os/exec"
	"syscall"
)

// dieWithTest makes the kernel kill the process when this one ends, however it ends. (The kernel watches the thread
// that starts the process; Go keeps its threads for as long as no goroutine ends locked to one.)
func dieWithTest(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
