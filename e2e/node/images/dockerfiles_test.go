package images

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestDockerfiles holds what is said of the images in other places against the
// Dockerfiles, because nothing but a builder reads them.
func TestDockerfiles(t *testing.T) {
	for _, i := range All {
		t.Run(i.Name, func(t *testing.T) {
			text, err := os.ReadFile(filepath.Join("../../..", i.Dockerfile))
			if err != nil {
				t.Fatal(err)
			}
			_, last, found := strings.Cut(string(text), "\nFROM scratch\n")
			if !found {
				t.Fatal("the image is not made from scratch")
			}
			if !strings.Contains(last, "\nUSER 65532:65532\n") {
				t.Error("it does not run as user and group 65532, as numbers: Kubernetes cannot tell that a name is not root")
			}
			var copied []string
			for _, m := range regexp.MustCompile(`(?m)^COPY --from=build /(\S+) /(\S+)$`).FindAllStringSubmatch(last, -1) {
				if m[1] != m[2] {
					t.Errorf("/%s becomes /%s", m[1], m[2])
				}
				copied = append(copied, m[1])
			}
			var programs []string
			for _, p := range i.Programs {
				programs = append(programs, filepath.Base(p))
			}
			if !slices.Equal(copied, programs) {
				t.Errorf("it copies %q, the programs are %q", copied, programs)
			}
			if !strings.Contains(last, `ENTRYPOINT ["/`+programs[0]+`"]`) {
				t.Errorf("its entry point is not /%s", programs[0])
			}
		})
	}
}
