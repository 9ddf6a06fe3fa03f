package bench

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// memoryMeter reads the resident memory of processes.
type memoryMeter struct {
	proc string // /proc, but in tests
	pids map[string]int
}

// read returns KiB by name.
func (m memoryMeter) read() (map[string]int64, error) {
	kib := make(map[string]int64, len(m.pids))
	for name, pid := range m.pids {
		n, err := readRSS(filepath.Join(m.proc, strconv.Itoa(pid), "status"))
		if err != nil {
			return nil, fmt.Errorf("memory of %s: %w", name, err)
		}
		kib[name] = n
	}
	return kib, nil
}

var vmRSS = []byte("VmRSS:")

// readRSS finds the line "VmRSS:   1234 kB" of proc_pid_status(5).
func readRSS(file string) (kib int64, err error) {
	status, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(status) {
		if fields := bytes.Fields(line); len(fields) == 3 && bytes.Equal(fields[0], vmRSS) && string(fields[2]) == "kB" {
			return strconv.ParseInt(string(fields[1]), 10, 64)
		}
	}
	return 0, fmt.Errorf("%s: no VmRSS", file) // a process that has ended and was not waited for
}
