package bench

import "syscall"

// raiseFiles raises the soft limit of open files as far as it takes, and the hard one where the user may. It returns
// what holds now.
func raiseFiles(need uint64) (uint64, error) {
	var now syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &now); err != nil {
		return 0, err
	}
	if now.Cur >= need {
		return now.Cur, nil
	}
	for _, soft := range []uint64{need, now.Max} { // the second is always allowed
		want := syscall.Rlimit{Cur: soft, Max: max(now.Max, soft)}
		if syscall.Setrlimit(syscall.RLIMIT_NOFILE, &want) == nil {
			return soft, nil
		}
	}
	return now.Cur, nil
}
