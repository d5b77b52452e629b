package main

import (
	"bufio"
	"debug/elf"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// This file runs what deploy/Containerfile builds, as far as that goes without an engine: the same build, in a root that has nothing but what
// the image has, as the image's user.

const imageUser = 65532

func TestContainerImage(t *testing.T) {
	text, err := os.ReadFile("../../deploy/Containerfile")
	if err != nil {
		t.Fatal(err)
	}
	file := string(text)
	for _, copied := range regexp.MustCompile(`(?m)^COPY ([^-\n][^\n]*) \S+$`).FindAllStringSubmatch(file, -1) {
		for name := range strings.FieldsSeq(copied[1]) {
			if _, err := os.Stat(filepath.Join("../..", name)); err != nil {
				t.Errorf("it copies %s: %v", name, err)
			}
		}
	}
	build := regexp.MustCompile(`CGO_ENABLED=0 go build (.*) -o /countersign (\S+) `).FindStringSubmatch(file)
	if build == nil || !strings.Contains(file, `ENTRYPOINT ["/countersign"]`) || !strings.Contains(file, "USER 65532:65532") {
		t.Fatal("the Containerfile builds, starts or runs as something that this test does not know")
	}
	root := t.TempDir()
	data := filepath.Join(root, "var/lib/countersign")
	if err := os.MkdirAll(data, 0o755); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(root, "countersign")
	args := append([]string{"build", "-buildvcs=false", "-o", program}, strings.Fields(strings.ReplaceAll(build[1], `"-s -w"`, "-s"))...)
	made := exec.CommandContext(t.Context(), "go", append(args, build[2])...)
	made.Dir, made.Env = "../..", append(os.Environ(), "CGO_ENABLED=0")
	if out, err := made.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", made.Args, err, out)
	}
	parsed, err := elf.Open(program)
	if err != nil {
		t.Fatal(err)
	}
	defer parsed.Close()
	for _, p := range parsed.Progs {
		if p.Type == elf.PT_INTERP {
			t.Fatal("the program is not static: scratch has no loader for it")
		}
	}
	if os.Geteuid() == 0 {
		if err := os.Chown(data, imageUser, imageUser); err != nil {
			t.Fatal(err)
		}
		for dir := root; dir != "/tmp" && dir != "/" && dir != os.TempDir(); dir = filepath.Dir(dir) { // what the test's own folders keep from others
			if err := os.Chmod(dir, 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := os.Chmod(data, 0o700); err != nil {
		t.Fatal(err)
	}
	env := []string{
		"COUNTERSIGN_MASTER_KEY_FILE=/var/lib/countersign/master.key", "COUNTERSIGN_OWNER_EMAIL=owner@example.com", "COUNTERSIGN_API_URL=http://localhost:1",
		"COUNTERSIGN_AUTHENTICATOR_URL=http://localhost:2", "COUNTERSIGN_CONSOLE_URL=http://localhost:3", "COUNTERSIGN_API_ADDR=127.0.0.1:0",
		"COUNTERSIGN_AUTHENTICATOR_ADDR=127.0.0.1:0", "COUNTERSIGN_CONSOLE_ADDR=127.0.0.1:0", "COUNTERSIGN_OPS_ADDR=127.0.0.1:0", "COUNTERSIGN_SHUTDOWN_GRACE=1ms",
	}
	inside := func(args ...string) *exec.Cmd {
		cmd := exec.CommandContext(t.Context(), "/countersign", args...)
		cmd.Dir, cmd.Env, cmd.SysProcAttr = "/", env, image(root)
		return cmd
	}
	if err := inside("--help").Run(); errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.ENOSPC) {
		t.Logf("this user may not change its root (%v): the image was built, not run", err)
		return
	}
	for _, args := range [][]string{{"keys", "new", "/var/lib/countersign/master.key"}, {"serve", "--check"}, {"app", "create", "Example Shop"}, {"doctor", "--help"}} {
		if out, err := inside(args...).CombinedOutput(); err != nil {
			t.Fatalf("%v in the image: %v\n%s", args, err, out)
		}
	}
	serve := inside("serve")
	var log strings.Builder
	serve.Stderr = &log
	out, err := serve.StdoutPipe()
	if err == nil {
		err = serve.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || !strings.Contains(line, "is running") {
		t.Errorf("%q, %v", line, err)
	}
	if err := serve.Process.Signal(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	if err := serve.Wait(); err != nil {
		t.Errorf("it ended with %v\n%s", err, &log)
	}
}

// image is how a program is started inside root: as the image's user for root, and in a user namespace of its own for anybody else.
func image(root string) *syscall.SysProcAttr {
	if os.Geteuid() == 0 {
		return &syscall.SysProcAttr{Chroot: root, Credential: &syscall.Credential{Uid: imageUser, Gid: imageUser}}
	}
	return &syscall.SysProcAttr{
		Chroot: root, Cloneflags: syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: imageUser, HostID: os.Getuid(), Size: 1}}, GidMappings: []syscall.SysProcIDMap{{ContainerID: imageUser, HostID: os.Getgid(), Size: 1}},
	}
}
