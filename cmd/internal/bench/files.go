package bench

// spareFiles are those of the process beside its connections.
const spareFiles = 64

// needFiles sees that the process may open a number of connections.
func needFiles(connections int) error {
	need := uint64(connections + spareFiles)
	limit, err := raiseFiles(need)
	if err != nil {
		return errorf(Setup, "limit of open files: %w", err)
	}
	return enoughFiles(need, limit)
}

// enoughFiles tells plainly what the machine would have to allow.
func enoughFiles(need, limit uint64) error {
	if limit >= need {
		return nil
	}
	return errorf(Setup, "this machine allows a process %d open files (ulimit -Hn), %d connections need %d: raise its hard limit "+
		"(limits.conf, LimitNOFILE, docker run --ulimit nofile), the server's too, or ask for fewer connections",
		limit, need-spareFiles, need)
}
