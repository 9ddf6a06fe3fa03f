package testserver

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"time"
)

// LaunchMySQL starts a mariadbd that keeps its data in dir, which it prepares when there is none yet. Every
// commit is synced. The user root has no password. The caller stops it.
func LaunchMySQL(dir string) (*Server, error) {
	const install = "apt-get install mariadb-server"
	binary, err := lookup(install, "mariadbd", "mysqld")
	if err != nil {
		return nil, err
	}
	data := filepath.Join(dir, "data")
	if err := os.MkdirAll(data+tmpSuffix, 0o700); err != nil {
		return nil, err
	}
	if _, err := os.Stat(filepath.Join(data, "mysql")); err != nil {
		installer, err := lookup(install, "mariadb-install-db", "mysql_install_db")
		if err != nil {
			return nil, err
		}
		if err := prepareMySQL(installer, data); err != nil {
			return nil, err
		}
	}
	initFile := filepath.Join(dir, "init.sql")
	if err := os.WriteFile(initFile, []byte("CREATE DATABASE IF NOT EXISTS test;\n"), 0o600); err != nil {
		return nil, err
	}
	s := &Server{binary: binary, dir: dir, logs: filepath.Join(dir, "mysql.log"), ready: mysqlReady}
	s.args = func(port int) []string {
		return append(dataArgs(data),
			"--port="+strconv.Itoa(port), "--bind-address=127.0.0.1", "--skip-networking=0", "--skip-name-resolve",
			"--socket=mysqld.sock", // in the data folder; a full path may be too long for a socket
			"--pid-file=mysqld.pid", "--init-file="+initFile, "--max-connections=500", "--performance-schema=OFF", "--skip-log-bin",
			"--innodb-flush-log-at-trx-commit=1", "--innodb-buffer-pool-size=128M",
			"--key-buffer-size=1M", "--aria-pagecache-buffer-size=1M",
		)
	}
	if err := s.launch(); err != nil {
		return nil, err
	}
	return s, nil
}

// tmpSuffix names the folder for temporary files after the one for data.
const tmpSuffix = "-tmp"

// dataArgs are what the installer and the server have to agree on.
func dataArgs(data string) []string {
	args := []string{
		"--no-defaults", "--datadir=" + data, "--tmpdir=" + data + tmpSuffix, // not /tmp: servers delete each other's files there
		"--innodb-log-file-size=48M", "--innodb-data-file-path=ibdata1:8M:autoextend",
	}
	if os.Getuid() == 0 {
		args = append(args, "--user=root")
	}
	return args
}

func prepareMySQL(installer, data string) error {
	args := append(dataArgs(data), "--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve")
	out, err := exec.Command(installer, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", installer, err, out)
	}
	return nil
}

// mysqlReady is nil once the server greets with a handshake of protocol 10.
func mysqlReady(addr string) error {
	answer, err := exchange(addr, "")
	if err != nil {
		return err
	}
	if len(answer) < 5 || answer[4] != 10 {
		return fmt.Errorf("no handshake, but %q", answer)
	}
	return nil
}

// DSN is of the form of go-sql-driver, for the empty database test. It is for MySQL servers only.
func (s *Server) DSN() string { return s.rootDSN() + "test" }

var databases atomic.Int64

func (s *Server) freshDatabase() (name, dsn string, err error) {
	name = fmt.Sprintf("hearth_%d", databases.Add(1))
	if err := s.exec("CREATE DATABASE " + name); err != nil {
		return "", "", fmt.Errorf("create database %s: %w", name, err)
	}
	return name, s.rootDSN() + name, nil
}

func (s *Server) rootDSN() string { return "root@tcp(" + s.Addr() + ")/" }

// exec uses the driver "mysql" that the program has to bring: this package imports the standard library only.
func (s *Server) exec(statement string) error {
	db, err := sql.Open("mysql", s.rootDSN())
	if err != nil {
		return fmt.Errorf("the program must import github.com/go-sql-driver/mysql: %w", err)
	}
	defer db.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_, err = db.ExecContext(ctx, statement)
	return err
}
