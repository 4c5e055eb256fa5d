# PVH entry (32-bit, paging off, EBX = start info) to 64-bit Rust, and the interrupt stubs.

    .section .note.pvh, "a", @note
    .balign 4
    .long 4, 4, 18                      # sizes of name and value; XEN_ELFNOTE_PHYS32_ENTRY
    .asciz "Xen"
    .long start32

    .section .text.start, "ax", @progbits
    .code32
    .globl start32
start32:
    cli
    cld
    mov esp, offset stack_top
    mov esi, ebx

    # The first 4 GiB as they are, in pages of 2 MiB; the last GiB uncached, as devices are there.
    xor ecx, ecx
2:  mov eax, ecx
    shl eax, 21
    or eax, 0x83                        # present, writable, large
    cmp ecx, 3 * 512
    jb 3f
    or eax, 0x10                        # PCD
3:  mov dword ptr [page_directories + ecx * 8], eax
    inc ecx
    cmp ecx, 4 * 512
    jb 2b
    xor ecx, ecx
4:  mov eax, ecx
    shl eax, 12
    add eax, offset page_directories + 3
    mov dword ptr [page_pointers + ecx * 8], eax
    inc ecx
    cmp ecx, 4
    jb 4b
    mov eax, offset page_pointers + 3
    mov dword ptr [page_root], eax

    mov eax, cr4
    or eax, 0x620                       # PAE, OSFXSR, OSXMMEXCPT
    mov cr4, eax
    mov eax, offset page_root
    mov cr3, eax
    mov ecx, 0xC0000080                 # EFER: LME, NXE
    rdmsr
    or eax, 0x900
    wrmsr
    mov eax, cr0
    and eax, 0xFFFFFFFB                 # EM
    or eax, 0x80010022                  # PG, WP, NE, MP
    mov cr0, eax
    lgdt [gdt_pointer]
    push 8
    mov eax, offset start64
    push eax
    retf

    .code64
start64:
    mov eax, 16
    mov ds, eax
    mov es, eax
    mov ss, eax
    xor eax, eax
    mov fs, eax
    mov gs, eax
    mov esp, offset stack_top
    fninit
    mov edi, esi
    xor ebp, ebp
    call main
5:  cli
    hlt
    jmp 5b

# Every vector: an error code (0 where the processor gives none), the vector, all registers, then Rust.
    .text
    .balign 16
    .globl stubs
stubs:
    .set vector, 0
    .rept 64
    .balign 16
    .if (vector == 8) | ((vector >= 10) & (vector <= 14)) | (vector == 17) | (vector == 21)
    nop
    nop
    .else
    push 0
    .endif
    push vector
    jmp common
    .set vector, vector + 1
    .endr

common:
    push rax
    push rbx
    push rcx
    push rdx
    push rsi
    push rdi
    push rbp
    push r8
    push r9
    push r10
    push r11
    push r12
    push r13
    push r14
    push r15
    mov rdi, rsp
    mov rbp, rsp
    sub rsp, 512
    and rsp, -16
    fxsave64 [rsp]
    cld
    call interrupt
    fxrstor64 [rsp]
    mov rsp, rbp
    pop r15
    pop r14
    pop r13
    pop r12
    pop r11
    pop r10
    pop r9
    pop r8
    pop rbp
    pop rdi
    pop rsi
    pop rdx
    pop rcx
    pop rbx
    pop rax
    add rsp, 16
    iretq

    .data
    .balign 16
    .globl gdt
gdt:
    .quad 0
    .quad 0x00AF9B000000FFFF            # 08: 64-bit code
    .quad 0x00CF93000000FFFF            # 10: data
    .quad 0, 0                          # 18: TSS, filled in later
gdt_pointer:
    .word 39
    .long gdt
    .long 0

    .bss
    .balign 4096
page_root:
    .skip 4096
    .globl page_root
page_pointers:
    .skip 4096
page_directories:
    .skip 4 * 4096
    .skip 65536
stack_top:
    .skip 16384
    .globl interrupt_stack_top
interrupt_stack_top:
    .text
