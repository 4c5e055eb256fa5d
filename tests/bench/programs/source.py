"""Writes a C program of as many modules as asked: what programs have, each time with other numbers and types."""

import sys

HEAD = """\
#include <ctype.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t mixed = 14695981039346656037u;

static void mix(uint64_t value)
{
    for (int i = 0; i < 8; i++, value >>= 8)
        mixed = (mixed ^ (value & 0xFF)) * 1099511628211u;
}
"""

MODULE = """\

/* Module @N@: a table of words, a machine of states, a matrix, a tree, an interpreter. */

struct entry@N@ {
    char word[@WORD@];
    @INT@ count;
    struct entry@N@ *next;
};

static struct entry@N@ *table@N@[@SLOTS@];
static struct entry@N@ pool@N@[@POOL@];
static unsigned used@N@;

static unsigned hash@N@(const char *word)
{
    unsigned h = @SEED@u;
    while (*word)
        h = (h << 5 | h >> 27) ^ (unsigned char)*word++ * @ODD@u;
    return h % @SLOTS@;
}

static struct entry@N@ *look_up@N@(const char *word)
{
    unsigned slot = hash@N@(word);
    struct entry@N@ *e;
    for (e = table@N@[slot]; e; e = e->next)
        if (!strcmp(e->word, word))
            return e;
    if (used@N@ == @POOL@)
        return NULL;
    e = &pool@N@[used@N@++];
    strncpy(e->word, word, sizeof e->word - 1);
    e->next = table@N@[slot];
    table@N@[slot] = e;
    return e;
}

enum state@N@ { START@N@, WORD@N@, NUMBER@N@, SPACE@N@, END@N@ };

static @INT@ scan@N@(const char *text)
{
    enum state@N@ state = START@N@;
    char word[@WORD@];
    size_t length = 0;
    @INT@ sum = 0, number = 0;
    for (;; text++) {
        unsigned char c = *text;
        switch (state) {
        case WORD@N@:
            if (isalpha(c) && length < sizeof word - 1) {
                word[length++] = tolower(c);
                continue;
            }
            word[length] = 0;
            struct entry@N@ *e = look_up@N@(word);
            if (e)
                sum += ++e->count * @SMALL@;
            break;
        case NUMBER@N@:
            if (isdigit(c)) {
                number = (number * 10 + (c - '0')) % @MODULUS@;
                continue;
            }
            sum ^= number;
            break;
        case START@N@:
        case SPACE@N@:
            break;
        case END@N@:
            return sum;
        }
        length = 0;
        number = 0;
        if (!c)
            return sum;
        if (isalpha(c)) {
            state = WORD@N@;
            word[length++] = tolower(c);
        } else if (isdigit(c)) {
            state = NUMBER@N@;
            number = c - '0';
        } else
            state = SPACE@N@;
    }
}

static double matrix@N@(int rounds)
{
    static double a[@SIDE@][@SIDE@], b[@SIDE@][@SIDE@], c[@SIDE@][@SIDE@];
    for (int i = 0; i < @SIDE@; i++)
        for (int j = 0; j < @SIDE@; j++) {
            a[i][j] = (i * @SMALL@ + j) / @MODULUS@.0;
            b[i][j] = (i ^ j) / @ODD@.0;
        }
    while (rounds--) {
        for (int i = 0; i < @SIDE@; i++)
            for (int j = 0; j < @SIDE@; j++) {
                double sum = 0;
                for (int k = 0; k < @SIDE@; k++)
                    sum += a[i][k] * b[k][j];
                c[i][j] = sum;
            }
        for (int i = 0; i < @SIDE@; i++)
            for (int j = 0; j < @SIDE@; j++)
                a[i][j] = c[i][j] / (1.0 + fabs(c[j][i]));
    }
    return a[@SIDE@ / 2][@SIDE@ / 3];
}

struct node@N@ {
    @INT@ key;
    int left, right;
    uint8_t level;
};

static struct node@N@ nodes@N@[@POOL@];
static int count@N@ = 1;

static int skew@N@(int at)
{
    int left = nodes@N@[at].left;
    if (!left || nodes@N@[left].level != nodes@N@[at].level)
        return at;
    nodes@N@[at].left = nodes@N@[left].right;
    nodes@N@[left].right = at;
    return left;
}

static int split@N@(int at)
{
    int right = nodes@N@[at].right;
    if (!right || nodes@N@[nodes@N@[right].right].level != nodes@N@[at].level)
        return at;
    nodes@N@[at].right = nodes@N@[right].left;
    nodes@N@[right].left = at;
    nodes@N@[right].level++;
    return right;
}

static int insert@N@(int at, @INT@ key)
{
    if (!at) {
        if (count@N@ == @POOL@)
            return 0;
        nodes@N@[count@N@] = (struct node@N@){ .key = key, .level = 1 };
        return count@N@++;
    }
    if (key < nodes@N@[at].key)
        nodes@N@[at].left = insert@N@(nodes@N@[at].left, key);
    else if (key > nodes@N@[at].key)
        nodes@N@[at].right = insert@N@(nodes@N@[at].right, key);
    else
        return at;
    return split@N@(skew@N@(at));
}

static @INT@ fold@N@(int at, @INT@ sum)
{
    if (!at)
        return sum;
    sum = fold@N@(nodes@N@[at].left, sum);
    sum = (sum * @SMALL@ + nodes@N@[at].key) % @MODULUS@;
    return fold@N@(nodes@N@[at].right, sum);
}

static @INT@ interpret@N@(const uint8_t *code, size_t size, int steps)
{
    @INT@ stack[16] = { 0 }, a = @SMALL@, b = @ODD@;
    unsigned top = 0;
    for (size_t at = 0; steps--; at++) {
        uint8_t op = code[at % size];
        switch (op % 11) {
        case 0: a += b ^ op; break;
        case 1: b = (b << (op & 7)) + a; break;
        case 2: a -= (@INT@)(b >> 3); break;
        case 3: stack[top++ & 15] = a; break;
        case 4: b ^= stack[--top & 15]; break;
        case 5: if (a & 1) at += op & 3; break;
        case 6: a = a * @SMALL@ + op; break;
        case 7: { @INT@ t = a; a = b; b = t; break; }
        case 8: a = b ? a / (b | 1) + op : op; break;
        case 9: b = (b & 0xFF) << 8 | (b >> 8 & 0xFF); break;
        default: a ^= (@INT@)(b * @ODD@); break;
        }
    }
    return a ^ b ^ stack[top & 15];
}

static int compare@N@(const void *x, const void *y)
{
    const struct entry@N@ *a = x, *b = y;
    if (a->count != b->count)
        return a->count < b->count ? 1 : -1;
    return strcmp(a->word, b->word);
}

static void module@N@(const char *text)
{
    int root = 0;
    @INT@ sum = scan@N@(text);
    for (@INT@ i = 1; i < 200; i++)
        root = insert@N@(root, i * @ODD@ % @MODULUS@);
    mix(sum);
    mix(fold@N@(root, 0));
    mix((uint64_t)(matrix@N@(3) * 1e6));
    mix(interpret@N@((const uint8_t *)text, strlen(text), 500));
    qsort(pool@N@, used@N@, sizeof *pool@N@, compare@N@);
    for (unsigned i = 0; i < used@N@ && i < 5; i++)
        mix(pool@N@[i].count + strlen(pool@N@[i].word));
}
"""

TEXT = "A compiler reads 1000 lines, then 20 more; the lines that it reads twice are 7 times as long as the first 3."


def main(modules):
    seed = 2463534242

    def pick(*choices):
        nonlocal seed
        seed = (seed * 1103515245 + 12345) & 0x7FFFFFFF
        return choices[(seed >> 16) % len(choices)]

    print(HEAD, end="")
    for number in range(modules):
        values = {
            "N": number,
            "INT": pick("uint64_t", "uint32_t", "unsigned long"),
            "WORD": pick(16, 20, 24, 32),
            "SLOTS": pick(61, 64, 127, 128, 251),
            "POOL": pick(100, 150, 200, 256),
            "SEED": pick(1, 77, 5381, 40503),
            "ODD": pick(31, 33, 131, 65599, 2654435),
            "SMALL": pick(3, 5, 7, 9, 11, 12),
            "MODULUS": pick(997, 1009, 4096, 65521),
            "SIDE": pick(8, 10, 12, 16, 17),
        }
        text = MODULE
        for name, value in values.items():
            text = text.replace(f"@{name}@", str(value))
        print(text, end="")
    print("\nint main(void)\n{\n    static const char text[] =\n        \"" + TEXT + '";')
    for number in range(modules):
        print(f"    module{number}(text);")
    print('    printf("%016llx\\n", (unsigned long long)mixed);\n    return 0;\n}')


main(int(sys.argv[1]))
