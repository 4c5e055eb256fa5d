# A source tree's life in git: added, changed in commits, looked at, packed.
prepare() {
    export HOME=$PWD GIT_CONFIG_NOSYSTEM=1 GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@example.org
    export GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@example.org
    git config --global init.defaultBranch main
    # On a host with more processors it shall do the same work.
    git config --global pack.threads 1
    git config --global index.threads 1
    git config --global gc.auto 0
    mkdir tree
    mkdir tree/linux
    cp -r /usr/include/linux/[a-hn-u]*.h tree/linux/
    cp -r /usr/lib/python3.*/json /usr/lib/python3.*/email tree/
    find tree -name '*.pyc' -delete
    find tree -exec touch -d '2023-06-10 00:00:00' {} +
}
work() {
    cd tree
    git init -q
    commit 0
    for round in 1 2; do
        # Some files get a line, one goes, one moves.
        for file in linux/*"$round".h linux/[a-d]*.h; do echo "/* $round */" >> "$file"; done
        git mv "linux/u$(ls linux | grep '^u' | head -n 1 | cut -c 2-)" "moved$round.h"
        git rm -q "linux/$(ls linux | grep '^n.*\.h$' | head -n 1)"
        commit "$round"
    done
    git log --stat --format='%H %s'
    git diff --shortstat HEAD~2
    git checkout -q HEAD~1
    git checkout -q main
    git gc -q
    git fsck --full --no-progress
    git status --short
    git rev-parse 'HEAD^{tree}'
}
commit() {
    export GIT_AUTHOR_DATE="2023-06-1$1 12:00:00 +0000" GIT_COMMITTER_DATE="2023-06-1$1 12:00:00 +0000"
    git add -A
    git commit -q -m "round $1"
}
