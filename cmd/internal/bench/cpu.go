package bench

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"time"
)

// clockTick is the unit of utime and stime: USER_HZ, 100 on every Linux that Go runs on.
const clockTick = 10 * time.Millisecond

// cpuMeter reads the CPU time of processes, and of this one.
type cpuMeter struct {
	proc string // /proc, but in tests
	pids map[string]int
}

// cpuTimes are user and system time of all threads.
type cpuTimes struct {
	own    time.Duration // 0 where there is no /proc
	byName map[string]time.Duration
}

// newCPUMeter fails when one of the processes is not there.
func newCPUMeter(proc string, pids map[string]int) (*cpuMeter, error) {
	m := &cpuMeter{proc: proc, pids: pids}
	_, err := m.read()
	return m, err
}

func (m *cpuMeter) read() (cpuTimes, error) {
	t := cpuTimes{byName: make(map[string]time.Duration, len(m.pids))}
	for name, pid := range m.pids {
		d, err := m.readProcess(pid)
		if err != nil {
			return t, fmt.Errorf("CPU time of %s: %w", name, err)
		}
		t.byName[name] = d
	}
	if runtime.GOOS == "linux" {
		own, err := m.readProcess(os.Getpid())
		if err != nil {
			return t, fmt.Errorf("own CPU time: %w", err)
		}
		t.own = own
	}
	return t, nil
}

func (m *cpuMeter) readProcess(pid int) (time.Duration, error) {
	name := filepath.Join(m.proc, strconv.Itoa(pid), "stat")
	stat, err := os.ReadFile(name)
	if err != nil {
		return 0, err
	}
	ticks, err := parseStat(stat)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", name, err)
	}
	return time.Duration(ticks) * clockTick, nil
}

// parseStat adds up utime and stime, fields 14 and 15 of proc_pid_stat(5). Field 2, the name, may hold anything, also
// spaces and brackets, so counting starts after its last bracket.
func parseStat(stat []byte) (ticks int64, err error) {
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 13 {
		return 0, fmt.Errorf("not a stat file: %.80q", stat)
	}
	for _, f := range fields[11:13] {
		n, err := strconv.ParseInt(string(f), 10, 64)
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	return ticks, nil
}

func (t cpuTimes) minus(before cpuTimes) cpuTimes {
	spent := cpuTimes{own: t.own - before.own, byName: make(map[string]time.Duration, len(t.byName))}
	for name, d := range t.byName {
		spent.byName[name] = d - before.byName[name]
	}
	return spent
}
